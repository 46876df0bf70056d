//! What happened when, for whoever must find out why.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Lines with the milliseconds since the start; copies share them.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    began: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Timeline {
    /// An empty one that starts now.
    pub fn start() -> Self {
        Self { began: Instant::now(), lines: Arc::default() }
    }

    /// Writes down that something happened now.
    pub fn say(&self, what: impl AsRef<str>) {
        let line = format!("{:>7} ms {}", self.began.elapsed().as_millis(), what.as_ref());
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// All lines.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
