//! Facts that functions and the task-manager tell about a task: the payload of `facts.<task>` in RESULTS.
//!
//! A fact may be told twice and in any order. The chain of decisions in the bucket `agents` is the truth; a fact says
//! which part of it to look at.

use serde::{Deserialize, Serialize};

use crate::message::{CommandResult, Outcome, ReportStatus};
use crate::numbers::Numbers;
use crate::problem::Problem;
use crate::summary::Stop;

/// Something that became true of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// `plan.<task>` says that there is nothing to do.
    Nothing {
        /// Why.
        reason: String,
    },
    /// `plan.<task>` holds a refusal.
    Refused {
        /// Why.
        errors: Vec<Problem>,
    },
    /// `recipients.<task>` holds the recipients.
    Frozen,
    /// `page.<task>.<n>` holds a page's decisions.
    Page {
        /// Which page.
        n: u32,
    },
    /// A newer task took this one's place for these recipients.
    Superseded {
        /// The newer task.
        by: String,
        /// The recipients.
        numbers: Numbers,
    },
    /// These recipients were deleted.
    Gone {
        /// The recipients.
        numbers: Numbers,
    },
    /// The chain ends here: nothing after `after` will be decided.
    Stopped {
        /// Why.
        stop: Stop,
        /// The last number that a page has decided; nobody was decided when there is none.
        after: Option<u32>,
        /// Whether the decided commands are edges: those that have not started are cancelled too.
        edge: bool,
    },
    /// A minute has passed since `deliver_until`.
    Expired,
}

/// A report as the gateway stores it: the payload of `results.<task>.<recipient>` and `starts.<task>.<recipient>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredResult {
    /// The recipient's number.
    pub number: u32,
    /// How far it is.
    pub status: ReportStatus,
    /// What came of it.
    #[serde(default)]
    pub result: Outcome,
}

impl StoredResult {
    /// A report of the agent with this number.
    pub fn new(number: u32, report: CommandResult) -> Self {
        Self { number, status: report.status, result: report.result }
    }
}
