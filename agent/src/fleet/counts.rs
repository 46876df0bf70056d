//! What the agents of a fleet did, as they know it themselves.

use std::collections::{BTreeMap, HashMap};
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

/// How often one agent did what one task asks: well, and badly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Did {
    pub good: u32,
    pub bad: u32,
}

/// What each agent did, by its number and by task.
pub(super) type Diary = HashMap<u32, BTreeMap<String, Did>>;

#[derive(Debug, Default)]
pub(super) struct Counts {
    tasks: Mutex<BTreeMap<String, Count>>,
    /// Only where it is asked for: it grows with each task of each agent.
    diary: Option<Mutex<Diary>>,
}

impl Counts {
    /// Counts; with `diary` also for each agent.
    pub fn new(diary: bool) -> Self {
        Self { tasks: Mutex::default(), diary: diary.then(Mutex::default) }
    }

    pub fn all(&self) -> BTreeMap<String, Count> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What each agent did; nothing when no diary is kept.
    pub fn diary(&self) -> Diary {
        let diary = self.diary.as_ref().map(|diary| diary.lock().unwrap_or_else(PoisonError::into_inner).clone());
        diary.unwrap_or_default()
    }

    pub fn executed<'a>(&self, agent: u32, tasks: impl Iterator<Item = &'a str> + Clone, good: bool) {
        if let Some(diary) = &self.diary {
            let mut diary = diary.lock().unwrap_or_else(PoisonError::into_inner);
            for task in tasks.clone() {
                let did = diary.entry(agent).or_default().entry(task.to_owned()).or_default();
                *(if good { &mut did.good } else { &mut did.bad }) += 1;
            }
        }
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
        let mut counts = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks {
            match counts.get_mut(task) {
                Some(count) => add(count),
                None => add(counts.entry(task.to_owned()).or_default()),
            }
        }
    }
}
