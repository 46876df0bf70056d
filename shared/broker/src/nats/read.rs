//! Reads that the stream's leader answers, and the purge.

use async_nats::{Client, HeaderMap, Message};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use muster_core::instant::Instant;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{ApiError, ask, call};
use super::publish::OPERATION;
use crate::{Entry, Fault};

/// The server names at most so many subjects an answer; and [`list`] no more in all.
const MAX_SUBJECTS: usize = 100_000;
const MARKER: &str = "Nats-Marker-Reason";

fn unreadable(subject: &str, why: impl std::fmt::Display) -> Fault {
    Fault::Unavailable(format!("{subject}: the stored message cannot be read: {why}"))
}

/// The newest message of a subject.
pub(super) async fn from_leader(client: &Client, stream: &str, subject: &str) -> Result<Option<Entry>, Fault> {
    #[derive(Deserialize)]
    struct Found {
        message: Stored,
    }
    #[derive(Deserialize)]
    struct Stored {
        seq: u64,
        #[serde(default)]
        hdrs: String,
        #[serde(default)]
        data: String,
        time: String,
    }
    let request = json!({ "last_by_subj": subject });
    let stored = match ask::<Found>(client, &format!("STREAM.MSG.GET.{stream}"), &request).await? {
        Ok(found) => found.message,
        Err(error) if error.err_code == ApiError::NO_MESSAGE => return Ok(None),
        Err(error) => return Err(error.fault()),
    };
    let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|e| unreadable(subject, e));
    let deleted = String::from_utf8_lossy(&decode(&stored.hdrs)?).lines().any(|line| match line.split_once(':') {
        Some((name, value)) => is_marker(name, value.trim()),
        None => false,
    });
    Ok(Some(Entry {
        subject: subject.to_owned(),
        revision: stored.seq,
        body: if deleted { None } else { Some(Bytes::from(decode(&stored.data)?)) },
        at: Instant::parse(&stored.time).ok_or_else(|| unreadable(subject, "its time"))?,
    }))
}

/// Whether a header says that the message stands for a deleted key.
fn is_marker(name: &str, value: &str) -> bool {
    name == MARKER || (name == OPERATION && matches!(value, "DEL" | "PURGE"))
}

/// Whether the message stands for a deleted key.
pub(super) fn marks_deletion(headers: &HeaderMap) -> bool {
    headers.iter().any(|(name, values)| values.iter().any(|value| is_marker(name.as_ref(), value.as_str())))
}

/// The value of a header that the server added; what the publisher wrote under that name comes before it.
pub(super) fn added<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get_last(name).map(|value| value.as_str())
}

/// An entry from an answer to a direct get, whose headers say where it lies.
pub(super) fn from_direct(message: Message) -> Result<Entry, Fault> {
    let headers = message.headers.unwrap_or_default();
    let entry = (|| {
        Some(Entry {
            subject: added(&headers, "Nats-Subject")?.to_owned(),
            revision: added(&headers, "Nats-Sequence")?.parse().ok()?,
            at: Instant::parse(added(&headers, "Nats-Time-Stamp")?)?,
            body: (!marks_deletion(&headers)).then_some(message.payload),
        })
    })();
    entry.ok_or_else(|| unreadable(&message.subject, "a direct get without its headers"))
}

/// The subjects under a filter that hold a message, sorted, at most 100,000; one with a marker is among them.
pub(super) async fn list(client: &Client, stream: &str, filter: &str) -> Result<Vec<String>, Fault> {
    #[derive(Deserialize)]
    struct Page {
        state: State,
        #[serde(default)]
        total: usize,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        subjects: Option<std::collections::BTreeMap<String, u64>>,
    }
    let mut all: Vec<String> = Vec::new();
    loop {
        let request = json!({ "subjects_filter": filter, "offset": all.len() });
        let page: Page = call(client, &format!("STREAM.INFO.{stream}"), &request).await?;
        let subjects = page.state.subjects.unwrap_or_default();
        let end = subjects.is_empty();
        all.extend(subjects.into_keys());
        if end || all.len() >= page.total.min(MAX_SUBJECTS) {
            break;
        }
    }
    all.truncate(MAX_SUBJECTS);
    all.sort_unstable();
    Ok(all)
}

/// Removes the messages of a subject.
pub(super) async fn purge(client: &Client, stream: &str, subject: &str) -> Result<(), Fault> {
    call::<Value>(client, &format!("STREAM.PURGE.{stream}"), &json!({ "filter": subject })).await.map(drop)
}

/// The place up to which everything of a consumer is acknowledged.
pub(super) async fn acked_upto(client: &Client, stream: &str, consumer: &str) -> Result<u64, Fault> {
    #[derive(Deserialize)]
    struct Floor {
        stream_seq: u64,
    }
    #[derive(Deserialize)]
    struct Info {
        ack_floor: Floor,
    }
    let info: Info = call(client, &format!("CONSUMER.INFO.{stream}.{consumer}"), &json!({})).await?;
    Ok(info.ack_floor.stream_seq)
}
