//! Contents by digest. A body never changes, so it is read once, and kept in the form in which it is handed over.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use muster_broker::{Bus, Fault, encode, kv};
use muster_core::lane::Lane;
use muster_core::names;
use muster_core::record::Entry;

use crate::recent::Recent;

/// At most about twice so many bytes of bodies are kept.
const KEPT: usize = 32 * 1024 * 1024;

/// Bodies as JSON strings, by digest: what goes to many agents is encoded once.
pub type Found = HashMap<String, Bytes>;

/// The bodies that were handed over lately.
pub struct Bodies {
    bus: Bus,
    kept: Mutex<Recent<String, Bytes>>,
}

impl Bodies {
    /// None yet.
    pub fn new(bus: &Bus) -> Self {
        Self { bus: bus.clone(), kept: Mutex::new(Recent::new(KEPT)) }
    }

    /// The bodies that these lanes point to. One that is missing or damaged is left out: the agent asks for it, and is
    /// told.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    pub async fn find<'a>(&self, lanes: impl Iterator<Item = (&'a Lane, &'a Entry)>) -> Result<Found, Fault> {
        let mut found = Found::new();
        // In an order of their own, so that the same questions are asked in the same order.
        let mut missing: BTreeMap<&'static str, BTreeMap<String, String>> = BTreeMap::new();
        for (lane, entry) in lanes {
            let Some(digest) = entry.digest.as_ref().filter(|digest| !found.contains_key(*digest)) else { continue };
            if let Some(body) = self.kept(digest) {
                found.insert(digest.clone(), body);
            } else if let Some((bucket, key)) = lane.body_at(digest) {
                missing.entry(bucket).or_default().insert(kv::subject(bucket, &key), digest.clone());
            }
        }
        for (bucket, wanted) in missing {
            let subjects: Vec<String> = wanted.keys().cloned().collect();
            for entry in self.bus.get_many(&kv::stream(bucket), &subjects).await? {
                let (Some(digest), Some(body)) = (wanted.get(&entry.subject), entry.body) else { continue };
                match checked(digest, &body) {
                    Some(json) => {
                        self.keep(digest, &json);
                        found.insert(digest.clone(), json);
                    }
                    None => tracing::error!(subject = entry.subject, "a stored body is not what its digest says"),
                }
            }
        }
        Ok(found)
    }

    fn kept(&self, digest: &String) -> Option<Bytes> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(digest)
    }

    fn keep(&self, digest: &str, json: &Bytes) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned(), json.clone(), json.len());
    }
}

/// The body as a JSON string, if it is a text with this digest.
fn checked(digest: &str, body: &[u8]) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    (names::digest(body) == digest).then(|| encode(&text).ok())?
}
