//! The rules of an agent, without I/O and without a clock: what it takes from a hand-over, what it does then, and what
//! it reports. The agent, the virtual fleet and simulations all run this code.
//!
//! Whoever drives it passes on each answer with [`Core::heard`] and each command with [`Core::take`], does the
//! [`Step`]s that come back, says with [`Core::set`], [`Core::done`] or [`Core::finished`] what came of each, and sends what
//! [`Core::report`] gives until [`Core::confirmed`] has taken it away.

mod edge;
mod ledger;
mod level;
pub mod outcome;
mod report;
mod single;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use muster_core::lane::Lane;
use muster_core::message::{Action, Command, HandOver, Hello, Sync};
use muster_core::names::is_any_task_id;
use muster_core::stamp::Stamp;

pub use self::ledger::{Durability, Ledger, LedgerFault, Memory};
pub use self::level::Target;
pub use self::report::Which;
pub use self::single::Single;
pub use self::state::{Change, Edge, Held, InForce, Pending, State};

/// What an agent says of itself in its hello.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The version of its program.
    pub version: String,
    /// The system it runs on, such as `linux`.
    pub os: String,
    /// The processor it runs on, such as `x86_64`.
    pub arch: String,
    /// Labels of its own.
    pub labels: BTreeMap<String, String>,
}

/// What is to be done about a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Put this state in force, then call [`Core::set`]. When that cannot be tried (a content is not to be had), do not
    /// call it and sync again later.
    Set(Target),
    /// Put this lane in force, then call [`Core::done`]. As long as that is not called, the gateway hands it over again.
    Lane(Single),
    /// Carry out an edge command, then call [`Core::finished`].
    Run {
        /// The task.
        task: String,
        /// The task's place among all tasks.
        order: Stamp,
        /// What to do.
        action: Action,
        /// How many seconds it may run.
        timeout: u64,
    },
    /// Sync: the gateway knows something that the agent does not.
    Sync,
}

/// What a recipient can carry out; it refuses everything else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Abilities {
    /// The kinds of lanes.
    pub lanes: &'static [&'static str],
    /// The names of edge commands.
    pub actions: &'static [&'static str],
}

/// An agent's state, its ledger, and the rules.
#[derive(Debug)]
pub struct Core<L> {
    state: State,
    ledger: L,
    able: Abilities,
}

impl<L: Ledger> Core<L> {
    /// An agent that starts with the state of its ledger. Edge commands that were running when it was last stopped are
    /// interrupted.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn start(state: State, ledger: L, able: Abilities) -> Result<Self, LedgerFault> {
        let mut core = Self { state, ledger, able };
        core.interrupt()?;
        Ok(core)
    }

    /// What the agent remembers.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The hello, with the digests that are in force.
    pub fn hello(&self, about: &About, digests: BTreeMap<Lane, String>) -> Hello {
        Hello {
            ledger: self.state.id.clone(),
            version: about.version.clone(),
            os: about.os.clone(),
            arch: about.arch.clone(),
            labels: about.labels.clone(),
            lanes: self.versions(),
            digests,
        }
    }

    /// The question at intervals, with the digests that are in force.
    pub fn sync(&self, digests: BTreeMap<Lane, String>) -> Sync {
        Sync { ledger: self.state.id.clone(), lanes: self.versions(), digests }
    }

    fn versions(&self) -> BTreeMap<Lane, Stamp> {
        self.state.lanes.iter().map(|held| (held.lane.clone(), held.version)).collect()
    }

    /// Takes what a hand-over says beside its commands, and must be called before them: what is confirmed, the floor,
    /// the epoch. True when the agent must sync again at once: the server was restored from a backup, so the versions
    /// that the agent named were those of another history.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn heard(&mut self, hand_over: &HandOver) -> Result<bool, LedgerFault> {
        self.confirmed(&hand_over.confirmed)?;
        let restored = hand_over.epoch.filter(|epoch| *epoch > self.state.epoch);
        if let Some(epoch) = restored {
            let forget = self.state.lanes.iter().map(|held| Change::Lane(held.lane.clone(), None));
            let changes = std::iter::once(Change::Epoch(epoch)).chain(forget).collect();
            self.write(changes, Durability::Now)?;
        }
        if let Some(floor) = hand_over.floor.filter(|floor| *floor > self.state.floor) {
            // The floor is durable before the ids below it go: without it a late copy of a command would start again.
            self.write(vec![Change::Floor(floor)], Durability::Now)?;
            self.prune()?;
        }
        Ok(restored.is_some())
    }

    /// Decides about one command: what is to be done, in this order. Where there is nothing to do, results may wait to
    /// be reported all the same.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn take(&mut self, command: Command) -> Result<Vec<Step>, LedgerFault> {
        if !is_any_task_id(&command.request_id) {
            return Ok(Vec::new());
        }
        if command.sets.is_empty() { self.take_edge(command) } else { self.take_level(command) }
    }

    /// Forgets the lanes and what is in force, because the contents that it rests on are lost: the gateway then hands
    /// everything over again.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn forget(&mut self) -> Result<(), LedgerFault> {
        let lanes = self.state.lanes.iter().map(|held| Change::Lane(held.lane.clone(), None));
        let changes = lanes.chain([Change::InForce(InForce::default())]).collect();
        self.write(changes, Durability::Now)
    }

    /// Makes changes durable as asked, then makes them.
    fn write(&mut self, changes: Vec<Change>, durability: Durability) -> Result<(), LedgerFault> {
        if changes.is_empty() {
            return Ok(());
        }
        self.ledger.write(&changes, durability)?;
        changes.into_iter().for_each(|change| self.state.apply(change));
        Ok(())
    }
}
