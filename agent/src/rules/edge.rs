//! Edge commands: each counts, and is carried out at most once.

use muster_core::message::{Command, CommandResult, Outcome, ReportStatus};

use super::outcome::{INTERRUPTED, UNKNOWN, bounded, outcome};
use super::report::result;
use super::state::{Change, Edge};
use super::{Core, Durability, Ledger, LedgerFault, Step};

impl<L: Ledger> Core<L> {
    /// A command that was seen is reported again or still runs. One below the floor never starts. Any other is
    /// "started" on disk before it starts.
    pub(super) fn take_edge(&mut self, command: Command) -> Result<Vec<Step>, LedgerFault> {
        if let Some(edge) = self.state.edge(&command.request_id) {
            let again = edge.outcome.as_deref().map(|outcome| edge_result(&edge.task, outcome));
            self.report_again(again)?;
            return Ok(Vec::new());
        }
        if command.order < self.state.floor {
            return Ok(Vec::new());
        }
        let (task, order, action) = (command.request_id, command.order, command.action);
        let edge = Edge { task: task.clone(), order, outcome: None, confirmed: false };
        if !self.able.actions.contains(&action.name.as_str()) {
            self.ended(edge, outcome(UNKNOWN, format!("unknown command: {}", action.name)))?;
            return Ok(Vec::new());
        }
        self.write(vec![Change::Edge(task.clone(), Some(edge))], Durability::Now)?;
        Ok(vec![Step::Run { task, order, action, timeout: command.timeout }])
    }

    /// Reports that an edge command runs. What is over at once needs no such report.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn began(&mut self, task: &str) -> Result<(), LedgerFault> {
        if self.state.edge(task).is_none_or(|edge| edge.outcome.is_some()) {
            return Ok(());
        }
        let result = CommandResult { status: ReportStatus::InProgress, ..edge_result(task, &Outcome::default()) };
        self.write(vec![Change::Result(task.to_owned(), Some(result))], Durability::Later)
    }

    /// Says what came of an edge command. What was not started, or is finished already, is ignored.
    ///
    /// # Errors
    /// When the ledger cannot be written; the command then counts as interrupted.
    pub fn finished(&mut self, task: &str, outcome: Outcome) -> Result<(), LedgerFault> {
        match self.state.edge(task).filter(|edge| edge.outcome.is_none()).cloned() {
            Some(edge) => self.ended(edge, bounded(outcome)),
            None => Ok(()),
        }
    }

    /// What was started and is not done was interrupted: it may have had any part of its effect.
    pub(super) fn interrupt(&mut self) -> Result<(), LedgerFault> {
        let started: Vec<Edge> = self.state.edges.iter().filter(|edge| edge.outcome.is_none()).cloned().collect();
        started.into_iter().try_for_each(|edge| self.ended(edge, outcome(INTERRUPTED, "interrupted")))
    }

    /// "Done" with the result is on disk before it is reported.
    fn ended(&mut self, edge: Edge, outcome: Outcome) -> Result<(), LedgerFault> {
        let task = edge.task.clone();
        let result = edge_result(&task, &outcome);
        // What was confirmed so far is that it runs.
        let edge = Edge { outcome: Some(Box::new(outcome)), confirmed: false, ..edge };
        self.write(vec![Change::Edge(task.clone(), Some(edge)), Change::Result(task, Some(result))], Durability::Now)
    }

    /// An id leaves the ledger when its result is confirmed and it is below the floor.
    pub(super) fn prune(&mut self) -> Result<(), LedgerFault> {
        let floor = self.state.floor;
        let over = self.state.edges.iter().filter(|edge| edge.confirmed && edge.order < floor);
        let changes = over.map(|edge| Change::Edge(edge.task.clone(), None)).collect();
        self.write(changes, Durability::Later)
    }
}

fn edge_result(task: &str, outcome: &Outcome) -> CommandResult {
    result(task, None, outcome.clone())
}
