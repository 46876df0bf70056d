//! When the agent asks and reports by itself: intervals with jitter, and pauses that grow while nobody answers.

use std::time::Duration;

use tokio::time::Instant;

use crate::link::{jittered, pause};

/// How often an agent syncs when no answer has told it.
const INTERVAL: Duration = Duration::from_secs(60);
/// The longest interval that an answer may name.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The first pause after a question that was not answered.
const AFTER_SILENCE: Duration = Duration::from_secs(2);
/// The first pause when there is more to be had.
const SOON: Duration = Duration::from_millis(100);

/// A time at which something is due, and how often it was tried since it last went well.
#[derive(Debug)]
pub struct Timer {
    due: Instant,
    failed: usize,
    hurried: usize,
}

impl Timer {
    /// Due now.
    pub fn now() -> Self {
        Self { due: Instant::now(), failed: 0, hurried: 0 }
    }

    /// When it is due.
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// It went well; due again after the interval that the answer names.
    pub fn answered(&mut self, seconds: Option<u64>) {
        let interval = seconds.map_or(INTERVAL, Duration::from_secs).clamp(Duration::from_secs(1), LONGEST);
        self.due = Instant::now() + jittered(interval);
        self.failed = 0;
    }

    /// The answer has said all there is.
    pub const fn calm(&mut self) {
        self.hurried = 0;
    }

    /// There is more to be had: due soon. Without `progress` it is later each time in a row, so that no
    /// misunderstanding becomes a storm.
    pub fn hurry(&mut self, progress: bool) {
        self.hurried = if progress { 1 } else { self.hurried + 1 };
        self.due = self.due.min(Instant::now() + pause(self.hurried, SOON));
    }

    /// Nobody has answered: due after a pause that grows.
    pub fn unanswered(&mut self) {
        self.failed += 1;
        self.due = Instant::now() + pause(self.failed, AFTER_SILENCE);
    }

    /// Due within `at_most`, if it is not earlier already.
    pub fn within(&mut self, at_most: Duration) {
        self.due = self.due.min(Instant::now() + jittered(at_most));
    }
}
