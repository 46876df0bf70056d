//! When which policy is scanned, and what is reported of it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use muster_core::instant::Instant;
use muster_core::lane::Lane;
use muster_sca::{Linux, Options, Policy, Report, scan};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant as Moment, sleep_until};

use super::findings::{Results, Scanned, message};
use super::{Surroundings, Wanted};
use crate::disk::replace;
use crate::link::{Unanswered, ask_bytes, pause};

/// The time for the scan of one policy; what is not decided by then is not applicable.
const SCAN: Duration = Duration::from_secs(600);
/// The first pause after a report that nobody answered.
const AFTER_SILENCE: Duration = Duration::from_secs(2);
/// The least time between two reports.
const BETWEEN: Duration = Duration::from_secs(5);

/// What is kept on disk: a scan that was done is reported, whatever happens to the agent.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// Whether the gateway has stored the results as they are.
    reported: bool,
    results: Results,
}

/// Scans one policy after the other.
pub struct Scanner {
    file: PathBuf,
    around: Surroundings,
    wanted: watch::Receiver<Wanted>,
    kept: Kept,
    /// Whether the disk does not have it yet.
    dirty: bool,
    started: Moment,
    /// When each was scanned since the agent started, and in which form.
    scanned: HashMap<Lane, (String, Moment)>,
    /// The next report.
    report: Moment,
    failed: usize,
}

impl Scanner {
    /// One that knows what was found before.
    pub fn open(root: &Path, around: Surroundings, wanted: watch::Receiver<Wanted>) -> Self {
        let file = root.join("spool").join("sca.json");
        let kept = match std::fs::read(&file) {
            // What cannot be read is found out again, and what the gateway has is replaced.
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            // Nothing was ever found, so there is nothing to report.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept { reported: true, ..Kept::default() },
            Err(_) => Kept::default(),
        };
        let now = Moment::now();
        Self { file, around, wanted, kept, dirty: false, started: now, scanned: HashMap::new(), report: now, failed: 0 }
    }

    /// Runs until nobody can say any more what is wanted.
    pub async fn run(mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            self.drop_all_but(&wanted);
            let next = wanted.policies.keys().map(|lane| (self.due(lane, &wanted), lane)).min();
            if let Some((due, lane)) = next
                && due <= Moment::now()
                && let Some((digest, policy)) = wanted.policies.get(lane)
            {
                let found = scan_beside(policy.clone(), self.around.commands).await;
                self.take(lane.clone(), digest.clone(), found);
                continue;
            }
            self.keep();
            let due = next.map(|(due, _)| due);
            let scan = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { return },
                () = scan => {}
                () = sleep_until(self.report), if !self.kept.reported => self.report().await,
            }
        }
    }

    /// When a policy is scanned next.
    fn due(&self, lane: &Lane, wanted: &Wanted) -> Moment {
        let settings = wanted.settings;
        match self.scanned.get(lane) {
            Some((_, at)) => *at + settings.interval,
            None if self.kept.results.contains_key(lane) && !settings.scan_on_start => self.started + settings.interval,
            None => self.started,
        }
    }

    /// Forgets the results of policies that are in force no more, or not in this form.
    fn drop_all_but(&mut self, wanted: &Wanted) {
        let before = self.kept.results.len();
        let is = |lane: &Lane, digest: &str| wanted.policies.get(lane).is_some_and(|(wanted, _)| wanted == digest);
        self.kept.results.retain(|lane, result| is(lane, &result.digest));
        self.scanned.retain(|lane, (digest, _)| is(lane, digest));
        if self.kept.results.len() < before {
            self.news();
        }
    }

    /// Takes in what a scan has found; none when it was cut short by a fault of its own.
    fn take(&mut self, lane: Lane, digest: String, found: Option<Report>) {
        self.scanned.insert(lane.clone(), (digest.clone(), Moment::now()));
        let Some(report) = found else {
            tracing::error!(%lane, "the scan of a policy failed");
            return;
        };
        tracing::info!(%lane, totals = ?report.totals, "a policy was scanned");
        let scanned = Instant::from_system(SystemTime::now());
        self.kept.results.insert(lane, Scanned { digest, scanned, report });
        self.news();
    }

    const fn news(&mut self) {
        self.kept.reported = false;
        self.dirty = true;
    }

    /// Stores what there is.
    fn keep(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let bytes = serde_json::to_vec(&self.kept).map_err(io::Error::from);
        if let Err(error) = bytes.and_then(|bytes| replace(&self.file, &bytes, 0o600)) {
            tracing::error!(%error, file = %self.file.display(), "what was found cannot be stored");
        }
    }

    /// Reports what there is; it is due again when that went wrong.
    async fn report(&mut self) {
        match self.tell().await {
            Ok(()) => {
                self.failed = 0;
                self.report = Moment::now() + BETWEEN;
                self.kept.reported = true;
                self.dirty = true;
            }
            Err(why) => {
                self.failed += 1;
                self.report = Moment::now() + pause(self.failed, AFTER_SILENCE);
                if why.is_temporary() {
                    tracing::debug!(%why, "what was found is reported again");
                } else {
                    tracing::warn!(%why, "the gateway refuses what was found; it is reported again later");
                }
            }
        }
    }

    async fn tell(&self) -> Result<(), Unanswered> {
        let message = message(&self.kept.results).map_err(|error| Unanswered::Garbled(error.to_string()))?;
        ask_bytes::<Value>(&self.around.client, self.around.subject.clone(), message.into()).await.map(drop)
    }
}

/// Scans in a thread of its own: nobody waits for it when the agent ends.
async fn scan_beside(policy: Arc<Policy>, commands: bool) -> Option<Report> {
    let (tell, told) = oneshot::channel();
    let work = move || {
        let _ = tell.send(scan(&policy, &Linux::default(), Options { commands, time: SCAN }));
    };
    std::thread::Builder::new().name("sca".into()).spawn(work).ok()?;
    told.await.ok()
}
