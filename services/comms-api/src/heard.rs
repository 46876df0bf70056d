//! What agents say of themselves, kept in the bucket `reported`: apart from the desired state, and never in the way of
//! an answer.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use muster_broker::{Bus, Fault, Write, decode, encode, kv};
use muster_core::instant::Instant;
use muster_core::lane::Lane;
use muster_core::message::{Hello, Sync};
use muster_core::problem::{Problem, Refusal};
use muster_core::record::{MAX_DIGESTS, Reported};
use muster_runtime::steps::Context;

use crate::gather::{Gather, Pace};

const REPORTED: &str = "reported";
/// How coarsely it is kept when an agent was last heard.
const COARSE: Duration = Duration::from_secs(300);
/// The longest version, system, label's name or label's value, in bytes.
const MAX_TEXT: usize = 256;
/// At most so many labels.
const MAX_LABELS: usize = 128;

const WRITES: Pace =
    Pace { most: 500, in_flight: 1, idle: Duration::from_millis(50), busy: Duration::from_millis(250) };

/// What an agent said, and when.
struct Said {
    agent: String,
    at: Instant,
    who: Option<Who>,
    digests: BTreeMap<Lane, String>,
}

struct Who {
    version: String,
    os: String,
    arch: String,
    labels: BTreeMap<String, String>,
}

/// Keeps what agents say of themselves. When too many say too much at once, it is dropped: they say it again.
pub struct Heard(Gather<Said>);

impl Heard {
    /// Starts it.
    pub fn start(context: &Context) -> Self {
        let bus = context.bus.clone();
        Self(Gather::start(context.clock.clone(), WRITES, move |group| keep(bus.clone(), group)))
    }

    /// An agent has said hello.
    pub fn hello(&self, agent: &str, at: Instant, hello: Hello) {
        let who = Who { version: hello.version, os: hello.os, arch: hello.arch, labels: hello.labels };
        self.0.offer(Said { agent: agent.to_owned(), at, who: Some(who), digests: hello.digests });
    }

    /// An agent has synced.
    pub fn sync(&self, agent: &str, at: Instant, sync: Sync) {
        self.0.offer(Said { agent: agent.to_owned(), at, who: None, digests: sync.digests });
    }

    /// Writes what was said, and ends.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// Checks the sizes in a hello.
///
/// # Errors
/// Where something is too long.
pub fn check_hello(hello: &Hello) -> Result<(), Refusal> {
    let long = |pointer: &str| Err(vec![Problem::new("too-large", pointer, format!("more than {MAX_TEXT} bytes"))]);
    if hello.version.len() > MAX_TEXT {
        return long("/version");
    }
    if hello.os.len() > MAX_TEXT {
        return long("/os");
    }
    if hello.arch.len() > MAX_TEXT {
        return long("/arch");
    }
    if hello.labels.len() > MAX_LABELS {
        return Err(vec![Problem::new("too-many", "/labels", format!("more than {MAX_LABELS} labels"))]);
    }
    if hello.labels.iter().any(|(name, value)| name.len() > MAX_TEXT || value.len() > MAX_TEXT) {
        return long("/labels");
    }
    check_digests(&hello.digests)
}

/// Checks the sizes in the digests that an agent names.
///
/// # Errors
/// When there are too many, or one is none.
pub fn check_digests(digests: &BTreeMap<Lane, String>) -> Result<(), Refusal> {
    if digests.len() > MAX_DIGESTS {
        return Err(vec![Problem::new("too-many", "/digests", format!("more than {MAX_DIGESTS} lanes"))]);
    }
    match digests.iter().find(|(_, digest)| digest.len() > 64) {
        Some((lane, _)) => Err(vec![Problem::new("schema", format!("/digests/{lane}"), "not a SHA-256 in hex")]),
        None => Ok(()),
    }
}

async fn keep(bus: Bus, group: Vec<Said>) {
    if let Err(fault) = store(&bus, group).await {
        tracing::warn!(%fault, "what agents said of themselves was not kept; they say it again");
    }
}

async fn store(bus: &Bus, group: Vec<Said>) -> Result<(), Fault> {
    let mut subjects: Vec<String> = group.iter().map(|said| kv::subject(REPORTED, &said.agent)).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let mut known: HashMap<String, Reported> = HashMap::new();
    for entry in bus.get_many(&kv::stream(REPORTED), &subjects).await? {
        let Some(body) = entry.body else { continue };
        // One that cannot be read is written anew.
        known.insert(entry.subject.clone(), decode(REPORTED, &entry.subject, &body).unwrap_or_default());
    }
    let mut changed: BTreeMap<String, Reported> = BTreeMap::new();
    for said in group {
        let subject = kv::subject(REPORTED, &said.agent);
        let before = changed.get(&subject).or_else(|| known.get(&subject));
        if let Some(now) = merge(before, said) {
            changed.insert(subject, now);
        }
    }
    let writes: Result<_, Fault> =
        changed.into_iter().map(|(subject, now)| Ok(Write::new(subject, encode(&now)?))).collect();
    bus.publish(&kv::stream(REPORTED), writes?).await
}

/// What is to be kept now; none when it stays as it is.
fn merge(before: Option<&Reported>, said: Said) -> Option<Reported> {
    let mut now = before.cloned().unwrap_or_default();
    now.digests = said.digests;
    if let Some(who) = said.who {
        now.version = who.version;
        now.os = who.os;
        now.arch = who.arch;
        now.labels = who.labels;
    }
    let fresh = now.seen.is_some_and(|seen| said.at.since(seen) < COARSE);
    if fresh && before == Some(&now) {
        return None;
    }
    now.seen = Some(said.at);
    Some(now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(at: i64, version: Option<&str>, digest: &str) -> Said {
        let who = version.map(|v| Who {
            version: v.into(),
            os: "linux".into(),
            arch: String::new(),
            labels: BTreeMap::new(),
        });
        Said { agent: "007".into(), at: Instant(at), who, digests: [(Lane::config("web"), digest.into())].into() }
    }

    #[test]
    fn only_news_is_kept_and_when_somewhat_coarsely() {
        let first = merge(None, said(1_000, Some("5.0"), "a")).unwrap();
        assert_eq!((first.version.as_str(), first.seen), ("5.0", Some(Instant(1_000))));
        assert_eq!(merge(Some(&first), said(2_000, Some("5.0"), "a")), None);
        assert_eq!(merge(Some(&first), said(2_000, None, "a")), None);
        assert_eq!(merge(Some(&first), said(301_000, None, "a")).unwrap().seen, Some(Instant(301_000)));
        let changed = merge(Some(&first), said(2_000, None, "b")).unwrap();
        assert_eq!((changed.version.as_str(), changed.seen), ("5.0", Some(Instant(2_000))));
        assert_eq!(merge(Some(&first), said(2_000, Some("5.1"), "a")).unwrap().version, "5.1");
    }

    #[test]
    fn a_hello_has_bounds() {
        let hello = |version: &str, labels: usize| Hello {
            ledger: "l".into(),
            version: version.into(),
            os: "linux".into(),
            arch: String::new(),
            labels: (0..labels).map(|n| (n.to_string(), String::new())).collect(),
            lanes: BTreeMap::new(),
            digests: BTreeMap::new(),
        };
        assert!(check_hello(&hello("5.0", 128)).is_ok());
        assert_eq!(check_hello(&hello("5.0", 129)).unwrap_err()[0].pointer, "/labels");
        assert_eq!(check_hello(&hello(&"5".repeat(257), 1)).unwrap_err()[0].pointer, "/version");
    }
}
