//! An agent's disk: what is durable, what is lost with a crash, and the ledger that writes it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_agent::rules::{Change, Durability, Ledger, LedgerFault, State};

use crate::chance::Chance;
use crate::net::Net;
use crate::sabotage::Sabotage;

/// What is on the disk of one agent.
#[derive(Default)]
pub struct Disk {
    /// The ledger as it would be read after a crash.
    pub durable: State,
    /// Written and not durable yet.
    later: Vec<Change>,
    /// The digests of the contents that are stored.
    pub contents: BTreeSet<String>,
    /// The number, once it is enrolled.
    pub number: Option<u32>,
    /// It was told that it was deleted.
    pub deleted: bool,
}

impl Disk {
    /// What the ledger says now, whether or not it is durable yet.
    pub fn now(&self) -> State {
        let mut state = self.durable.clone();
        self.later.iter().cloned().for_each(|change| state.apply(change));
        state
    }
}

/// The disk of one agent; clones are the same one.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Disk>>);

impl Shared {
    /// Looks at it.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a start finds after a crash: of what was not durable, some had reached the disk.
    pub fn recover(&self, chance: &Chance) -> State {
        let mut disk = self.disk();
        let later = std::mem::take(&mut disk.later);
        let kept = usize::try_from(chance.below(later.len() as u64 + 1)).unwrap_or(0);
        later.into_iter().take(kept).for_each(|change| disk.durable.apply(change));
        disk.durable.clone()
    }
}

/// The ledger of one life of an agent.
pub struct DiskLedger {
    pub net: Arc<Net>,
    pub disk: Shared,
    pub chance: Chance,
}

impl DiskLedger {
    fn dies(&self) -> bool {
        self.net.faulty() && self.chance.hits(self.net.settings.agent_crashes)
    }
}

impl Ledger for DiskLedger {
    fn write(&mut self, changes: &[Change], durability: Durability) -> Result<(), LedgerFault> {
        let died = || Err(LedgerFault("simulated: the agent is killed".into()));
        if self.dies() {
            return died();
        }
        let started = |change: &Change| matches!(change, Change::Edge(_, Some(edge)) if edge.outcome.is_none());
        let done = |change: &Change| matches!(change, Change::Edge(_, Some(edge)) if edge.outcome.is_some());
        let durability = match self.net.sabotage {
            Some(Sabotage::StartedDurable) if changes.iter().any(started) => Durability::Later,
            _ => durability,
        };
        let mut disk = self.disk.disk();
        let number = disk.number.unwrap_or_default();
        let kept = |change: &&Change| match self.net.sabotage {
            Some(Sabotage::DoneDurable) => !done(change) && !started(change),
            _ => true,
        };
        let mut changes: Vec<Change> = changes.iter().filter(kept).cloned().collect();
        match durability {
            Durability::Later => disk.later.append(&mut changes),
            Durability::Now => {
                let Disk { durable, later, .. } = &mut *disk;
                for change in later.drain(..).chain(changes) {
                    if let Change::Result(task, Some(result)) = &change {
                        self.net.truth.result(task, number, result.status);
                    }
                    durable.apply(change);
                }
            }
        }
        drop(disk);
        // It may be killed when all is on the disk, and before it knows.
        if self.dies() { died() } else { Ok(()) }
    }
}
