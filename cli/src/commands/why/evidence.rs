//! What streams and buckets hold about a task and an agent.

use muster_core::chain::{Frozen, Page, Planned};
use muster_core::fact::StoredResult;
use muster_core::instant::Instant;
use muster_core::lane::Lane;
use muster_core::plan::Plan;
use muster_core::record::{Agent, Reported};
use muster_core::status::{Mark, Status};
use muster_core::summary::{Stop, Summary};

/// All that is known.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    /// The agent's id.
    pub(super) agent: String,
    /// `tasks/<task>`.
    pub(super) summary: Summary,
    /// `agents/id.<agent>`; none when it was never enrolled.
    pub(super) record: Option<Agent>,
    /// `reported/<agent>`; none when it was never heard.
    pub(super) reported: Option<Reported>,
    /// `agents/plan.<task>`.
    pub(super) plan: Option<Planned>,
    /// `agents/recipients.<task>`.
    pub(super) frozen: Option<Frozen>,
    /// Whether the agent is one of them.
    pub(super) recipient: bool,
    /// The page that has decided about it: its number and what it decided.
    pub(super) decided: Option<(u32, Decided)>,
    /// `agents/stop.<task>`.
    pub(super) stop: Option<Stop>,
    /// What the collector has stored of it in `sets`.
    pub(super) marks: Vec<Mark>,
    /// When its start was stored in RESULTS.
    pub(super) started: Option<Instant>,
    /// What it reported at the end, and when that was stored in RESULTS.
    pub(super) result: Option<(StoredResult, Instant)>,
    /// Its command, when one of this task still lies in COMMANDS or RUNS.
    pub(super) command: Option<Lying>,
}

/// What a page decided about one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decided {
    /// It gets a command.
    Commanded,
    /// There is nothing to do, for this reason.
    Skipped(String),
    /// This newer task has overtaken it.
    Superseded(String),
    /// It was deleted.
    Gone,
}

/// A command in its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lying {
    /// Where it lies.
    pub(super) subject: String,
    /// When it was stored.
    pub(super) at: Instant,
    /// Whether a gateway has taken it up and tried to hand it over.
    pub(super) taken: bool,
}

impl Evidence {
    /// The plan, if there is one.
    pub(super) fn plan(&self) -> Option<&Plan> {
        match &self.plan {
            Some(Planned::Plan(plan)) => Some(plan),
            _ => None,
        }
    }

    /// The lane that the task's commands set.
    pub(super) fn lane(&self) -> Option<&Lane> {
        self.plan()?.lane.as_ref()
    }

    /// Whether the collector has given it this status, whatever the reason.
    pub(super) fn has(&self, wanted: Status) -> bool {
        self.marks.iter().any(|mark| matches!(mark, Mark::Is(status, _) if *status == wanted))
    }

    /// The task that took this one's place: as a page or the collector says it, or as the record shows it.
    pub(super) fn superseded_by(&self) -> Option<&str> {
        let told = self.marks.iter().find_map(|mark| match mark {
            Mark::Is(Status::Superseded, Some(by)) => Some(by.as_str()),
            _ => None,
        });
        let decided = match &self.decided {
            Some((_, Decided::Superseded(by))) => Some(by.as_str()),
            _ => None,
        };
        told.or(decided).or_else(|| self.overwritten_by())
    }

    /// The task whose state the record holds in place of this one's, although a page has commanded it.
    fn overwritten_by(&self) -> Option<&str> {
        let (Some((_, Decided::Commanded)), Some(lane), Some(record)) = (&self.decided, self.lane(), &self.record)
        else {
            return None;
        };
        let other = match record.lanes.get(lane) {
            Some(entry) => Some(entry.task.as_str()),
            // The lane went away with the group that it came from.
            None => record.grouped_by().map(|entry| entry.task.as_str()),
        };
        other.filter(|task| *task != self.summary.id)
    }
}

/// What the page decided about this number; none when it is not on it.
pub(super) fn on_page(page: &Page, number: u32) -> Option<Decided> {
    if page.commanded.contains(number) {
        return Some(Decided::Commanded);
    }
    if page.gone.contains(number) {
        return Some(Decided::Gone);
    }
    let among = |sets: &std::collections::BTreeMap<String, muster_core::numbers::Numbers>| {
        sets.iter().find(|(_, numbers)| numbers.contains(number)).map(|(why, _)| why.clone())
    };
    among(&page.skipped).map(Decided::Skipped).or_else(|| among(&page.superseded).map(Decided::Superseded))
}
