//! What the collector counts: steps of a task, seen in what its stored summary says before and after, and reports.

use std::collections::HashMap;

use muster_core::instant::Instant;
use muster_core::message::ReportStatus;
use muster_core::summary::Summary;
use muster_telemetry::metrics;

use crate::inbox::Work;

/// How far a task was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    reported: bool,
    ended: bool,
}

impl Progress {
    /// How far a summary says it is.
    pub fn of(summary: &Summary) -> Self {
        let counts = &summary.counts;
        Self { reported: counts.in_progress + counts.success + counts.failure > 0, ended: summary.ended.is_some() }
    }

    /// Counts the steps that a task has made since, once its new summary is stored.
    pub fn to(self, summary: &Summary, now: Instant) {
        let (after, age) = (Self::of(summary), now.since(summary.created));
        // A type that is none is text from outside.
        let kind = summary.task_type().map_or("_OTHER", |kind| kind.name());
        if after.reported && !self.reported {
            metrics::first_result(kind, age);
        }
        if after.ended && !self.ended {
            metrics::task_ended(kind, summary.state.name(), age);
        }
    }
}

/// How many reports there are of each status.
pub fn reports(works: &HashMap<&str, Work>) -> [(&'static str, u64); 3] {
    let mut counts = [("in_progress", 0), ("success", 0), ("failure", 0)];
    for report in works.values().flat_map(|work| &work.reports) {
        let [in_progress, success, failure] = &mut counts;
        let (_, count) = match report.status {
            ReportStatus::InProgress => in_progress,
            ReportStatus::Success => success,
            ReportStatus::Failure => failure,
        };
        *count += 1;
    }
    counts
}
