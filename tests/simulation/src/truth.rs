//! What the agents did, written down by the world and by nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_core::message::ReportStatus;

/// A task and the number of an agent.
pub type At = (String, u32);

/// What the agents did.
#[derive(Default)]
pub struct Truth(Mutex<Deeds>);

/// The deeds.
#[derive(Debug, Default, Clone)]
pub struct Deeds {
    /// How often an edge command began.
    pub ran: BTreeMap<At, u32>,
    /// Which ends the ledgers hold or held: true for success.
    pub ends: BTreeMap<At, BTreeSet<bool>>,
    /// Which starts were to be reported.
    pub starts: BTreeSet<At>,
}

impl Truth {
    fn deeds(&self) -> MutexGuard<'_, Deeds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done by now.
    pub fn all(&self) -> Deeds {
        self.deeds().clone()
    }

    /// An edge command begins; gives how often it has.
    pub fn runs(&self, task: &str, agent: u32) -> u32 {
        let mut deeds = self.deeds();
        let count = deeds.ran.entry((task.to_owned(), agent)).or_default();
        *count += 1;
        *count
    }

    /// A ledger holds a result.
    pub fn result(&self, task: &str, agent: u32, status: ReportStatus) {
        let at = (task.to_owned(), agent);
        match status {
            ReportStatus::InProgress => drop(self.deeds().starts.insert(at)),
            end => drop(self.deeds().ends.entry(at).or_default().insert(end == ReportStatus::Success)),
        }
    }
}
