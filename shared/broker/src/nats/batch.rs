//! Atomic batches (ADR-50): staged by the server message by message, stored together at the last one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{Client, HeaderMap, Request};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::api::{ApiError, PATIENCE, answer, call, jitter, send};
use super::publish::{Ack, headers};
use crate::{Fault, Write};

/// So many batches of this process are under way at once in a stream: more only make each other wait.
const IN_FLIGHT: usize = 2;
/// How often a batch is tried that the server could not take at the moment: some seconds.
const ATTEMPTS: usize = 16;

/// Who may write a batch now.
#[derive(Default)]
pub(super) struct Writers(Mutex<HashMap<String, Arc<Semaphore>>>);

/// One attempt.
enum Attempt {
    Stored(u64),
    /// Not stored: the server has too many batches open, or has lost a part of this one.
    Again(ApiError),
}

impl Writers {
    /// Stores all or nothing.
    pub(super) async fn commit(&self, client: &Client, stream: &str, writes: &[Write]) -> Result<u64, Fault> {
        let turn = self.turn(stream);
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            if attempt == 1 {
                not_too_big(client, stream, writes).await?;
            }
            let permit = turn.acquire().await.map_err(|e| Fault::Unavailable(e.to_string()))?;
            let outcome = try_once(client, stream, writes).await?;
            drop(permit);
            match outcome {
                Attempt::Stored(place) => return Ok(place),
                Attempt::Again(error) => last = Some(error),
            }
            tokio::time::sleep(jitter(Duration::from_millis(50), Duration::from_millis(500))).await;
        }
        Err(Fault::Unavailable(last.map_or_else(String::new, |error| error.to_string())))
    }

    fn turn(&self, stream: &str) -> Arc<Semaphore> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match turns.get(stream) {
            Some(turn) => turn.clone(),
            None => turns.entry(stream.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(IN_FLIGHT))).clone(),
        }
    }
}

async fn try_once(client: &Client, stream: &str, writes: &[Write]) -> Result<Attempt, Fault> {
    // A fresh id each time: a second attempt under the id of a half-sent one is refused.
    let id = nuid::next();
    let Some((last, staged)) = writes.split_last() else {
        return Err(Fault::Refused("a batch of nothing".into()));
    };
    let staging = async {
        for (n, write) in staged.iter().enumerate() {
            let (headers, body) = (in_batch(write, &id, n + 1)?, write.body.clone().unwrap_or_default());
            client.publish_with_headers(write.subject.clone(), headers, body).await.map_err(|e| match e.kind() {
                PublishErrorKind::Send => Fault::Unavailable(e.to_string()),
                _ => Fault::Refused(format!("{}: {e}", write.subject)),
            })?;
        }
        Ok::<_, Fault>(())
    };
    tokio::time::timeout(PATIENCE, staging)
        .await
        .map_err(|_| Fault::Unavailable(format!("{stream}: no connection")))??;
    let mut headers = in_batch(last, &id, writes.len())?;
    headers.insert("Nats-Batch-Commit", "1");
    let request = Request::new().headers(headers).payload(last.body.clone().unwrap_or_default());
    match answer::<Ack>(&send(client, last.subject.clone(), request).await?)? {
        Ok(ack) => ack.place(stream).map(Attempt::Stored),
        Err(error) if error.again() => Ok(Attempt::Again(error)),
        Err(error) => Err(error.fault()),
    }
}

fn in_batch(write: &Write, id: &str, number: usize) -> Result<HeaderMap, Fault> {
    let mut headers = headers(write)?;
    headers.insert("Nats-Batch-Id", id);
    headers.insert("Nats-Batch-Sequence", number.to_string());
    Ok(headers)
}

/// The server drops a message over the stream's limit from the batch and then calls the batch incomplete, as it does
/// when it is busy. Told apart here, so that what can never be stored is refused.
async fn not_too_big(client: &Client, stream: &str, writes: &[Write]) -> Result<(), Fault> {
    #[derive(Deserialize)]
    struct Info {
        config: Limits,
    }
    #[derive(Deserialize)]
    struct Limits {
        max_msg_size: i64,
    }
    let info: Info = call(client, &format!("STREAM.INFO.{stream}"), &json!({})).await?;
    let Ok(limit @ 1..) = usize::try_from(info.config.max_msg_size) else {
        return Ok(());
    };
    // Headers count too; some 100 bytes of them are the batch's.
    let size = |write: &Write| write.body.as_ref().map_or(0, Bytes::len);
    match writes.iter().find(|write| size(write) + 256 > limit) {
        Some(write) => Err(Fault::Refused(format!("{}: {} bytes where {limit} fit", write.subject, size(write)))),
        None => Ok(()),
    }
}
