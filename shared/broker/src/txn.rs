//! One decision over keys of a bucket: what it reads and what it writes, stored in one batch or not at all.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Bus, Fault, Write, kv};

/// Reads and writes of one decision. Each key that was read is written with the revision read, or checked by a
/// carrier message; so a commit means that nothing it looked at has changed. Reads see the writes made before them.
pub struct Txn {
    bus: Bus,
    bucket: String,
    read: HashMap<String, Read>,
    writes: BTreeMap<String, Option<Bytes>>,
    /// How many of the keys that were read are to be checked. Counted as it changes: a page asks after each agent.
    checks: usize,
}

/// A key as it was read.
struct Read {
    revision: u64,
    body: Option<Bytes>,
    /// Whether it must be the same at the commit, and is not written there.
    checked: bool,
}

impl Txn {
    /// An empty decision over a bucket.
    pub fn new(bus: &Bus, bucket: &str) -> Self {
        Self { bus: bus.clone(), bucket: bucket.to_owned(), read: HashMap::new(), writes: BTreeMap::new(), checks: 0 }
    }

    /// Reads keys that are not read yet, so that [`Txn::get`] has them.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    pub async fn load(&mut self, keys: impl IntoIterator<Item = String>) -> Result<(), Fault> {
        let mut missing: Vec<String> = keys.into_iter().filter(|k| !self.read.contains_key(k)).collect();
        missing.sort_unstable();
        missing.dedup();
        let stream = kv::stream(&self.bucket);
        let subjects: Vec<String> = missing.iter().map(|k| kv::subject(&self.bucket, k)).collect();
        let entries = match subjects.as_slice() {
            [] => return Ok(()),
            [one] => self.bus.get(&stream, one).await?.into_iter().collect(),
            many => self.bus.get_many(&stream, many).await?,
        };
        for key in missing {
            let checked = !self.writes.contains_key(&key);
            self.checks += usize::from(checked);
            self.read.insert(key, Read { revision: 0, body: None, checked });
        }
        for entry in entries {
            if let Some(read) = kv::key(&self.bucket, &entry.subject).and_then(|key| self.read.get_mut(key)) {
                (read.revision, read.body) = (entry.revision, entry.body);
            }
        }
        Ok(())
    }

    /// Lets a key that was read change until the commit: its value is advice.
    pub fn unchecked(&mut self, key: &str) {
        if let Some(read) = self.read.get_mut(key) {
            self.checks -= usize::from(std::mem::take(&mut read.checked));
        }
    }

    /// The value of a key that was loaded or written; none when there is none.
    pub fn bytes(&self, key: &str) -> Option<&Bytes> {
        match self.writes.get(key) {
            Some(written) => written.as_ref(),
            None => self.read.get(key).and_then(|read| read.body.as_ref()),
        }
    }

    /// The JSON value of a key that was loaded or written.
    ///
    /// # Errors
    /// [`Fault::Refused`] when the stored value cannot be read: an operator has to look.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Fault> {
        self.bytes(key).map(|body| decode(&self.bucket, key, body)).transpose()
    }

    /// Loads a key and gives its value.
    ///
    /// # Errors
    /// As [`Txn::load`] and [`Txn::get`].
    pub async fn fetch<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Fault> {
        self.load([key.to_owned()]).await?;
        self.get(key)
    }

    /// Writes a key. A key that was not loaded must not be there: the write creates it.
    pub fn put(&mut self, key: &str, body: impl Into<Bytes>) {
        self.write(key, Some(body.into()));
    }

    /// Writes a key as JSON; see [`Txn::put`].
    ///
    /// # Errors
    /// [`Fault::Refused`] when the value has no JSON form.
    pub fn put_json(&mut self, key: &str, value: &impl Serialize) -> Result<(), Fault> {
        self.put(key, encode(value)?);
        Ok(())
    }

    /// Deletes a key that was loaded.
    pub fn delete(&mut self, key: &str) {
        self.write(key, None);
    }

    fn write(&mut self, key: &str, body: Option<Bytes>) {
        // The write carries the revision itself.
        self.unchecked(key);
        self.writes.insert(key.to_owned(), body);
    }

    /// How many messages the commit needs now.
    pub fn messages(&self) -> usize {
        self.writes.len() + self.checks
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Stores the writes if nothing that was read has changed.
    ///
    /// # Errors
    /// [`Fault::Conflict`] when something has: begin again with a new decision.
    pub async fn commit(self) -> Result<u64, Fault> {
        let checks = self.read.iter().filter(|(_, read)| read.checked).enumerate().map(|(n, (key, read))| Write {
            check: Some((kv::subject(&self.bucket, key), read.revision)),
            ..Write::new(kv::subject(&self.bucket, &format!("check.{n}")), Bytes::new()).ttl(Duration::from_secs(60))
        });
        let mut batch: Vec<Write> = checks.collect();
        for (key, body) in &self.writes {
            let revision = self.read.get(key).map_or(0, |read| read.revision);
            batch.push(match body {
                Some(body) => Write::put(&self.bucket, key, body.clone(), revision),
                None => Write::delete(&self.bucket, key, revision),
            });
        }
        self.bus.commit(&kv::stream(&self.bucket), batch).await
    }
}

/// A stored JSON value.
///
/// # Errors
/// [`Fault::Refused`], naming the key.
pub fn decode<T: DeserializeOwned>(bucket: &str, key: &str, body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|e| Fault::Refused(format!("{bucket}/{key} cannot be read: {e}")))
}

/// A value as JSON.
///
/// # Errors
/// [`Fault::Refused`] when it has no JSON form.
pub fn encode(value: &impl Serialize) -> Result<Bytes, Fault> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| Fault::Refused(e.to_string()))
}
