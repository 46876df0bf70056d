//! Atomic batches (ADR-50).

use anyhow::{Result, bail};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

/// So many batches are under way at once: more are not faster.
const IN_FLIGHT: usize = 2;

/// A message of a batch.
pub struct Message {
    pub subject: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Stores messages in batches of `size`, which `message` makes by their numbers.
pub async fn store(client: &Client, count: u32, size: u32, message: impl Fn(u32) -> Message) -> Result<()> {
    let message = &message;
    let starts = (0..count).step_by(size as usize);
    let batches = starts.map(|start| batch(client, (start..count.min(start + size)).map(message)));
    stream::iter(batches).buffer_unordered(IN_FLIGHT).try_collect().await
}

async fn batch(client: &Client, messages: impl ExactSizeIterator<Item = Message>) -> Result<()> {
    let (id, count) = (nuid::next(), messages.len());
    for (place, Message { subject, mut headers, body }) in (1..).zip(messages) {
        headers.insert("Nats-Batch-Id", id.as_str());
        headers.insert("Nats-Batch-Sequence", place.to_string());
        if place < count {
            client.publish_with_headers(subject, headers, body).await?;
            continue;
        }
        headers.insert("Nats-Batch-Commit", "1");
        let answer: Value =
            serde_json::from_slice(&client.request_with_headers(subject, headers, body).await?.payload)?;
        if !answer["error"].is_null() {
            bail!("a batch is refused: {answer}");
        }
    }
    Ok(())
}
