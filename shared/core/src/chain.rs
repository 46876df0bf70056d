//! The chain of a task's decisions, as it lies in the bucket `agents`: `plan.<task>`, `recipients.<task>` with its
//! containers, `page.<task>.<n>`, `finish.<task>`. Each is created once and never changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::numbers::Numbers;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::summary::Stop;

/// The form of stored decisions; a program reads its own and the one before.
pub const FORMAT: u32 = 1;

/// A decision with what is stored beside each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored<D> {
    /// The form: [`FORMAT`].
    pub format: u32,
    /// The delivery of the task's message at which it was made: ten deliveries without a new decision park the task.
    pub delivery: u64,
    /// The decision.
    #[serde(flatten)]
    pub decision: D,
}

impl<D> Stored<D> {
    /// A decision made now.
    pub const fn new(delivery: u64, decision: D) -> Self {
        Self { format: FORMAT, delivery, decision }
    }
}

/// What was decided about the whole: `plan.<task>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Planned {
    /// What to do.
    Plan(Box<Plan>),
    /// The task is refused.
    Refused {
        /// Why.
        errors: Vec<Problem>,
    },
    /// There is nothing to do.
    Nothing {
        /// Why.
        reason: String,
    },
    /// The task was stopped before it was planned.
    Stop(Stop),
}

/// Who is concerned: `recipients.<task>`; the sets lie beside it at `recipients.<task>.<container>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Frozen {
    /// The recipients.
    Recipients {
        /// How many.
        count: u64,
        /// In which containers.
        containers: Vec<u16>,
    },
    /// The task was stopped before its recipients were known.
    Stop(Stop),
}

/// What was decided about some recipients, or that there are no more pages: `page.<task>.<n>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Paged {
    /// The decisions.
    Page(Page),
    /// The task was stopped before this page.
    Stop(Stop),
}

/// What was decided about the recipients of one page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The last number of this page; the next one starts behind it. None when the page is empty.
    pub upto: Option<u32>,
    /// Whether it is the last page.
    pub last: bool,
    /// Who gets a command.
    pub commanded: Numbers,
    /// Who has nothing to do, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, Numbers>,
    /// Who was deleted.
    #[serde(default, skip_serializing_if = "Numbers::is_empty")]
    pub gone: Numbers,
    /// Who was overtaken, by which task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub superseded: BTreeMap<String, Numbers>,
    /// Whom this page took from earlier tasks, by the earlier task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<String, Numbers>,
}

impl Page {
    /// Everyone that the page has decided about.
    pub fn decided(&self) -> Numbers {
        let mut all = self.commanded.clone();
        all.union_with(&self.gone);
        for numbers in self.skipped.values().chain(self.superseded.values()) {
            all.union_with(numbers);
        }
        all
    }
}

/// That a saga's last changes were made: `finish.<task>`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finished {}

/// The keys of a task's chain in its bucket.
pub mod key {
    /// The plan.
    pub fn plan(task: &str) -> String {
        format!("plan.{task}")
    }

    /// The head of the recipients.
    pub fn recipients(task: &str) -> String {
        format!("recipients.{task}")
    }

    /// One container of the recipients.
    pub fn container(task: &str, container: u16) -> String {
        format!("recipients.{task}.{container}")
    }

    /// One page.
    pub fn page(task: &str, n: u32) -> String {
        format!("page.{task}.{n}")
    }

    /// The mark that the last changes were made.
    pub fn finish(task: &str) -> String {
        format!("finish.{task}")
    }

    /// The stop, for those who hand over edge commands.
    pub fn stop(task: &str) -> String {
        format!("stop.{task}")
    }
}
