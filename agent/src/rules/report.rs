//! Results: reported, and repeated until the gateway says that it has stored them.

use muster_core::message::{CommandResult, MAX_REPORT, MAX_RESULTS, Outcome, Report, ReportStatus};

use super::state::{Change, Edge, Held};
use super::{Core, Durability, Ledger, LedgerFault};

/// Room that a report leaves for what is around its results, in bytes.
const AROUND: usize = 1024;

/// Which results to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that were not sent, or that the gateway has asked for again.
    New,
    /// All that are not confirmed.
    All,
}

impl<L: Ledger> Core<L> {
    /// Whether results wait to be confirmed.
    pub const fn reports(&self) -> bool {
        !self.state.results.is_empty()
    }

    /// Whether results wait to be sent for the first time, or again because the gateway has asked.
    pub fn has_new(&self) -> bool {
        self.state.results.iter().any(|pending| !pending.sent)
    }

    /// The next report, as many results as fit; they count as sent. `None` when there are none. Ask again with
    /// [`Which::New`] for the rest.
    pub fn report(&mut self, which: Which) -> Option<Report> {
        if which == Which::All {
            self.state.results.iter_mut().for_each(|pending| pending.sent = false);
        }
        let mut report = Report { ledger: self.state.id.clone(), results: Vec::new() };
        let mut room = MAX_REPORT - AROUND;
        for pending in self.state.results.iter_mut().filter(|pending| !pending.sent).take(MAX_RESULTS) {
            let size = serde_json::to_string(&pending.result).map_or(0, |text| text.len() + 1);
            if size > room {
                break;
            }
            room -= size;
            pending.sent = true;
            report.results.push(pending.result.clone());
        }
        (!report.results.is_empty()).then_some(report)
    }

    /// An empty report: the receipt for a push whose results come later.
    pub fn receipt(&self) -> Report {
        Report { ledger: self.state.id.clone(), results: Vec::new() }
    }

    /// Takes away the results that the gateway has stored. One that has changed since it was sent stays.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn confirmed(&mut self, tasks: &[String]) -> Result<(), LedgerFault> {
        let mut changes = Vec::new();
        for pending in self.state.results.iter().filter(|pending| pending.sent) {
            let task = &pending.result.request_id;
            if !tasks.contains(task) {
                continue;
            }
            changes.push(Change::Result(task.clone(), None));
            if let Some(edge) = self.state.edge(task).filter(|edge| edge.outcome.is_some()) {
                changes.push(Change::Edge(task.clone(), Some(Edge { confirmed: true, ..edge.clone() })));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.write(changes, Durability::Later)?;
        self.prune()
    }

    /// Reports these results once more.
    pub(super) fn report_again(&mut self, results: impl IntoIterator<Item = CommandResult>) -> Result<(), LedgerFault> {
        let changes = results.into_iter().map(|result| Change::Result(result.request_id.clone(), Some(result)));
        let changes = changes.collect();
        self.write(changes, Durability::Later)
    }
}

/// The result for a task; a lane that was taken names itself and its version.
pub(super) fn result(task: &str, held: Option<&Held>, outcome: Outcome) -> CommandResult {
    CommandResult {
        request_id: task.to_owned(),
        status: if outcome.code == 0 { ReportStatus::Success } else { ReportStatus::Failure },
        lane: held.map(|held| held.lane.clone()),
        version: held.map(|held| held.version),
        result: outcome,
    }
}
