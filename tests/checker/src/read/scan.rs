//! All messages of a stream, in order, by direct gets: no consumer, no change.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use async_nats::Client;
use futures::StreamExt as _;
use serde_json::{Value, json};

/// So many messages are asked for at once.
const BATCH: usize = 1000;
/// How long the next message of an answer may take.
const NEXT: Duration = Duration::from_secs(20);

/// A stored message.
pub(super) struct Stored {
    pub subject: String,
    pub place: u64,
    pub body: Vec<u8>,
}

/// The messages from a place on, without those that say that a key was deleted.
pub(super) async fn scan(client: &Client, stream: &str, from: u64) -> Result<Vec<Stored>> {
    let (mut all, mut from) = (Vec::new(), from);
    loop {
        let (part, last) = batch(client, stream, from).await?;
        all.extend(part);
        match last {
            Some(last) => from = last + 1,
            None => return Ok(all),
        }
    }
}

/// The next messages from a place on, of a stream in which nothing is deleted; none at its end.
pub(super) async fn part(client: &Client, stream: &str, from: u64) -> Result<Vec<Stored>> {
    Ok(batch(client, stream, from).await?.0)
}

/// A batch, and the place of its last message; none at the stream's end.
async fn batch(client: &Client, stream: &str, from: u64) -> Result<(Vec<Stored>, Option<u64>)> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    let question = json!({ "seq": from, "batch": BATCH, "next_by_subj": ">" });
    client.publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), inbox, question.to_string().into()).await?;
    let (mut part, mut last) = (Vec::new(), None);
    loop {
        let Some(answer) = tokio::time::timeout(NEXT, answers.next()).await? else { bail!("the connection is closed") };
        if let Some(status) = answer.status {
            match status.as_u16() {
                // The end of the batch; nothing is there.
                204 | 404 => return Ok((part, last)),
                other => bail!("{stream}: status {other}: {:?}", answer.description),
            }
        }
        let header = |name: &str| answer.headers.as_ref().and_then(|all| all.get(name)).map(|value| value.as_str());
        let Some(subject) = header("Nats-Subject") else {
            let why: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
            bail!("{stream}: {why}");
        };
        let place = header("Nats-Sequence").and_then(|text| text.parse().ok());
        ensure!(place > last, "{stream}: the places do not rise");
        last = place;
        let deleted = header("KV-Operation").is_some() || header("Nats-Marker-Reason").is_some();
        if !deleted {
            let (subject, body) = (subject.to_owned(), answer.payload.to_vec());
            part.push(Stored { subject, place: place.unwrap_or_default(), body });
        }
    }
}
