//! Time as the steps see it.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use muster_core::instant::Instant;

/// A clock, and waiting by it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> Instant;
    /// Waits.
    async fn sleep(&self, span: Duration);
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::from_system(SystemTime::now())
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
