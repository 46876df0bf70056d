//! Packages through the agents' gateway: `agent.<id>.package`.

use async_nats::Client;
use async_trait::async_trait;
use bytes::Bytes;
use muster_core::package::{Chunk, ERROR_CODE};

use super::Source;
use crate::link::{Unanswered, answer, read};

/// The gateway as a source of packages.
pub struct Gateway {
    /// The agent's connection.
    pub client: Client,
    /// The subject `agent.<id>.package`.
    pub subject: String,
}

#[async_trait]
impl Source for Gateway {
    async fn part(&self, chunk: &Chunk) -> Result<Bytes, Unanswered> {
        let question = serde_json::to_vec(chunk).map_err(|error| Unanswered::Garbled(error.to_string()))?;
        let answer = answer(&self.client, self.subject.clone(), question.into()).await?;
        if answer.headers.is_some_and(|headers| headers.get(ERROR_CODE).is_some()) {
            let refused = read::<serde_json::Value>(&answer.payload);
            return Err(refused.err().unwrap_or_else(|| Unanswered::Garbled("a refusal without a reason".into())));
        }
        Ok(answer.payload)
    }
}
