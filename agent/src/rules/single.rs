//! Lanes that are put in force by themselves, each apart from the others, and possibly for a long time.

use muster_core::lane::Lane;
use muster_core::message::{CommandResult, Outcome, ReportStatus};
use muster_core::record::Entry;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::level::{asker, held, took};
use super::outcome::bounded;
use super::state::{Change, Held, InForce};
use super::{Core, Durability, Ledger, LedgerFault};

/// A lane that is to be put in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Single {
    /// The lane.
    pub lane: Lane,
    /// The state that it is to have.
    pub entry: Entry,
    /// What the command says beside it.
    pub args: Value,
    /// How many seconds it may take.
    pub timeout: u64,
}

impl Single {
    /// The task that asks for it; none when no task has set the lane.
    pub fn task(&self) -> Option<&str> {
        asker(&self.entry)
    }
}

impl<L: Ledger> Core<L> {
    /// Reports that it was begun. What is over at once needs no such report.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn started(&mut self, single: &Single) -> Result<(), LedgerFault> {
        let Some(task) = single.task().filter(|_| self.wants(single)) else { return Ok(()) };
        let result = CommandResult {
            request_id: task.to_owned(),
            status: ReportStatus::InProgress,
            lane: Some(single.lane.clone()),
            version: Some(single.entry.version),
            result: Outcome::default(),
        };
        self.write(vec![Change::Result(task.to_owned(), Some(result))], Durability::Later)
    }

    /// Whether it is still to be put in force: nothing newer was taken, and the agent is in the lane's group.
    pub fn wants(&self, single: &Single) -> bool {
        let newer = self.state.lane(&single.lane).is_none_or(|held| held.version < single.entry.version);
        newer && single.lane.group().is_none_or(|group| self.state.groups.iter().any(|g| g == group))
    }

    /// Says whether it is in force, with the evidence, or why not: then what was in force before stays so. Nothing
    /// happens when it is not wanted any more.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn done(&mut self, single: Single, done: Result<Value, Outcome>) -> Result<(), LedgerFault> {
        if !self.wants(&single) {
            return Ok(());
        }
        let mut changes = Vec::new();
        let taken = match done {
            Ok(evidence) => {
                let mut in_force: InForce = self.state.in_force.clone();
                in_force.contents.retain(|(lane, _)| *lane != single.lane);
                in_force
                    .contents
                    .extend(single.entry.digest.iter().map(|digest| (single.lane.clone(), digest.clone())));
                changes.push(Change::InForce(in_force));
                let evidence = bounded(Outcome { data: evidence, ..Outcome::default() }).data;
                let evidence = Some(evidence).filter(|evidence| !evidence.is_null()).map(Box::new);
                Held { evidence, ..held(single.lane, single.entry, None) }
            }
            Err(why) => held(single.lane, single.entry, Some(Box::new(bounded(why)))),
        };
        changes.extend(took(taken));
        self.write(changes, Durability::Now)
    }
}
