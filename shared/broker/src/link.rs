//! The way from a gateway to the agents.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Fault;

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The agent answered: a receipt or a report.
    Answered(Bytes),
    /// Nobody listens under that id.
    NoResponder,
    /// No answer in time.
    Silence,
}

/// The way from a gateway to the agents. Who answers a push is proved by the subject of the answer, which only that
/// agent may use.
#[async_trait]
pub trait Link: Send + Sync {
    /// Pushes a message to an agent and waits for its answer, at most `wait`. It carries the current trace.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    async fn push(&self, agent: &str, message: Bytes, wait: Duration) -> Result<Pushed, Fault>;

    /// Tells an agent something that needs no answer.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    async fn tell(&self, agent: &str, message: Bytes) -> Result<(), Fault>;
}
