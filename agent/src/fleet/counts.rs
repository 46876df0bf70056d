//! What the agents of a fleet did, as they know it themselves.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use muster_core::message::{Report, ReportStatus};

/// What was done for one task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// So often an agent put in force, or tried to, what the task asks.
    pub executed: u64,
    /// So often that went well.
    pub succeeded: u64,
    /// So often it failed.
    pub failed: u64,
    /// So many successes were reported, repeats too.
    pub successes_reported: u64,
    /// So many failures were reported, repeats too.
    pub failures_reported: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<String, Count>>);

impl Counts {
    pub fn all(&self) -> BTreeMap<String, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn executed<'a>(&self, tasks: impl Iterator<Item = &'a str>, good: bool) {
        self.count(tasks, |count| {
            count.executed += 1;
            *(if good { &mut count.succeeded } else { &mut count.failed }) += 1;
        });
    }

    pub fn reported(&self, report: &Report) {
        for result in &report.results {
            let task = std::iter::once(result.request_id.as_str());
            match result.status {
                ReportStatus::Success => self.count(task, |count| count.successes_reported += 1),
                ReportStatus::Failure => self.count(task, |count| count.failures_reported += 1),
                ReportStatus::InProgress => {}
            }
        }
    }

    fn count<'a>(&self, tasks: impl Iterator<Item = &'a str>, add: impl Fn(&mut Count)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks {
            match counts.get_mut(task) {
                Some(count) => add(count),
                None => add(counts.entry(task.to_owned()).or_default()),
            }
        }
    }
}
