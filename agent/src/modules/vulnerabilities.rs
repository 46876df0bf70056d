//! Vulnerability scans: the agent lists its packages, and a server node matches them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use muster_core::message::Outcome;
use muster_core::problem::in_words;
use muster_vulnerabilities::inventory::Place;
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::link::{Unanswered, ask_bytes, pause};
use crate::rules::Single;
use crate::rules::outcome::{INVALID, NOT_APPLIED, outcome};

/// Before the gateway is asked again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest time between two questions: a longer one would lose what is there meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What scans.
pub struct Vulnerabilities {
    place: Place,
    client: Client,
    /// `agent.<id>.packages`
    subject: String,
}

impl Vulnerabilities {
    /// Scans of the system at a root.
    pub fn of(root: &Path, client: Client, subject: String) -> Self {
        let own = Place::default();
        // A program here answers for the system here: of another one only dpkg's files can be read.
        let rpm = if root == own.root { own.rpm } else { PathBuf::new() };
        Self { place: Place { root: root.to_owned(), rpm, timeout: own.timeout }, client, subject }
    }

    /// Lists the packages and has them matched, again and again until a node stands at the offset that is wanted, for as long as
    /// the command may take. What comes of it are the counts; what was found lies with the gateway.
    pub fn scan(&self, single: &Single) -> impl Future<Output = Result<Value, Outcome>> + Send + 'static {
        let (place, client, subject) = (self.place.clone(), self.client.clone(), self.subject.clone());
        let (wanted, timeout) = (single.entry.revision, Duration::from_secs(single.timeout));
        async move {
            let wanted = wanted.ok_or_else(|| outcome(INVALID, "/revision: the feed's offset is needed"))?;
            let until = Instant::now() + timeout;
            let mut attempt = 0;
            loop {
                attempt += 1;
                let why = match ask_bytes::<Value>(&client, subject.clone(), packed(&place).await?).await {
                    // The gateway asks for what the agent's record names: by now that may be more.
                    Ok(found) if found["offset"].as_u64() >= Some(wanted) => return Ok(found),
                    Ok(found) => format!("the scan was made at offset {}", found["offset"]),
                    Err(why) if why.is_temporary() || why.is("not-yet") => why.to_string(),
                    Err(Unanswered::Refused(problems)) => return Err(outcome(NOT_APPLIED, in_words(&problems))),
                    Err(why) => return Err(outcome(NOT_APPLIED, why.to_string())),
                };
                let next = pause(attempt, FIRST_PAUSE).min(LONGEST_PAUSE);
                if Instant::now() + next >= until {
                    let message = format!("not matched at offset {wanted} within {} s: {why}", timeout.as_secs());
                    return Err(outcome(NOT_APPLIED, message));
                }
                tracing::debug!(wanted, why, "the packages are not matched yet; asking again");
                sleep(next).await;
            }
        }
    }
}

/// The packages of now.
async fn packed(place: &Place) -> Result<Bytes, Outcome> {
    let place = place.clone();
    let listed = spawn_blocking(move || place.inventory().and_then(|inventory| inventory.pack())).await;
    match listed {
        Ok(Ok(packed)) => Ok(packed.into()),
        Ok(Err(problem)) => Err(outcome(NOT_APPLIED, format!("the packages cannot be listed: {problem}"))),
        Err(error) => Err(outcome(NOT_APPLIED, format!("the packages were not listed: {error}"))),
    }
}
