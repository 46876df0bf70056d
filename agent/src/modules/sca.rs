//! Security Configuration Assessment: the policies in force are scanned beside the session, at once when they come and
//! then at an interval, and what is found is reported until the gateway has stored it.

mod findings;
mod scanner;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_nats::Client;
use muster_core::configuration;
use muster_core::lane::Lane;
use muster_core::problem::in_words;
use muster_core::sca::Manifest;
use muster_sca::Policy;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::scanner::Scanner;
use super::{Keeps, Modules};

/// Reads the text of a policy.
///
/// # Errors
/// What is wrong with it; check and rule are named.
pub fn read(_name: &str, text: &str) -> Result<Arc<Policy>, String> {
    Policy::parse(text).map(Arc::new).map_err(|problems| in_words(&problems))
}

/// What a task is told of a policy that was read.
pub fn evidence(policy: &Arc<Policy>) -> Map<String, Value> {
    Map::from_iter([("policy".to_owned(), json!(policy.id)), ("checks".to_owned(), json!(policy.checks.len()))])
}

/// Whether a content of the content manager can be put in force, with what a task is told of it: the manifest and, on the
/// disk, each of its policies. `shelf` reads these.
///
/// # Errors
/// What is wrong; policy, check and rule are named.
pub fn check_content(
    text: &str,
    shelf: &dyn Keeps,
    part: &dyn Fn(&str) -> Option<String>,
) -> Result<Map<String, Value>, String> {
    let manifest = Manifest::read(text).map_err(|problems| in_words(&problems))?;
    let mut checks = 0;
    for (lane, digest) in manifest.bodies() {
        let fault = |why: String| format!("policy {}: {why}", lane.name().unwrap_or_default());
        let policy = part(digest).ok_or_else(|| fault(format!("the content {digest} is missing")))?;
        checks += shelf.check(&lane, &policy).map_err(fault)?["checks"].as_u64().unwrap_or_default();
    }
    let (version, policies) = (manifest.version, manifest.policies.len());
    Ok(Map::from_iter([
        ("version".to_owned(), json!(version)),
        ("policies".to_owned(), json!(policies)),
        ("checks".to_owned(), json!(checks)),
    ]))
}

/// What is to be scanned, and when.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The policies in force, each with its digest. A lane without a group is of a policy of the content manager.
    policies: BTreeMap<Lane, (String, Arc<Policy>)>,
    settings: configuration::Sca,
}

impl Wanted {
    /// What the modules have loaded.
    pub fn of(modules: &Modules) -> Self {
        let policy =
            |(lane, digest, policy): (&Lane, &str, &Arc<Policy>)| (lane.clone(), (digest.to_owned(), policy.clone()));
        Self { policies: modules.policies.all().map(policy).collect(), settings: modules.sca }
    }

    fn is(&self, other: &Self) -> bool {
        let digests = |wanted: &Self| -> Vec<(Lane, String)> {
            wanted.policies.iter().map(|(lane, (digest, _))| (lane.clone(), digest.clone())).collect()
        };
        self.settings == other.settings && digests(self) == digests(other)
    }
}

/// Who may be asked to run what, and where to say what was found.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Whether the agent's own local configuration allows rules to run commands.
    pub commands: bool,
    /// The connection to the gateway.
    pub client: Client,
    /// `agent.<id>.findings.sca`.
    pub subject: String,
}

/// The scans of one agent. Dropping it ends them; a scan that runs is not waited for.
pub struct Sca {
    wanted: watch::Sender<Wanted>,
    scanning: AbortHandle,
}

impl Sca {
    /// Goes on with what was found before the agent, whose files are in the directory `root`, was last stopped.
    pub fn start(root: &Path, surroundings: Surroundings, wanted: Wanted) -> Self {
        let (wanted, follows) = watch::channel(wanted);
        let scanner = Scanner::open(root, surroundings, follows);
        Self { wanted, scanning: tokio::spawn(scanner.run()).abort_handle() }
    }

    /// Scans these from now on.
    pub fn follow(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|before| {
            let news = !before.is(&wanted);
            if news {
                *before = wanted;
            }
            news
        });
    }
}

impl Drop for Sca {
    fn drop(&mut self) {
        self.scanning.abort();
    }
}
