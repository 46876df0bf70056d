//! Packages through the agents' gateway: `agent.<id>.package`.

use async_nats::Client;
use async_trait::async_trait;
use bytes::Bytes;
use muster_core::package::{Chunk, ERROR_CODE};

use super::Source;
use crate::link::{ANSWER, Unanswered, read};

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
        let request = async_nats::Request::new().payload(question.into()).timeout(Some(ANSWER));
        let answer = self.client.send_request(self.subject.clone(), request).await;
        let answer = answer.map_err(|error| Unanswered::Silence(error.to_string()))?;
        if answer.headers.is_some_and(|headers| headers.get(ERROR_CODE).is_some()) {
            let refused = read::<serde_json::Value>(&answer.payload);
            return Err(refused.err().unwrap_or_else(|| Unanswered::Garbled("a refusal without a reason".into())));
        }
        Ok(answer.payload)
    }
}
