//! Many subjects in one request: the direct get with `multi_last` (ADR-31). All answers come to one subscription.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Client, Message};
use futures::StreamExt;
use futures::future::try_join_all;
use serde_json::json;
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio::task::AbortHandle;

use super::api::{PATIENCE, bounded};
use super::read::{added, from_direct};
use crate::{Entry, Fault};

/// So many subjects a request; the server refuses more than 1,024, and 900 of 1,000 bytes fit a payload.
const MAX_SUBJECTS: usize = 900;
const MAX_REQUEST: usize = 900_000;
/// The server ends an answer after so many bytes; the rest is asked for again. Keeps a connection's buffers small.
const MAX_ANSWER: usize = 4 << 20;
/// So many requests at once: their answers fit into the subscription's buffer, out of which the client drops messages
/// when it is full. More would not be faster.
const IN_FLIGHT: usize = 16;

type Waiting = Arc<Mutex<HashMap<u64, mpsc::UnboundedSender<Message>>>>;

/// Reads by `multi_last`.
pub(super) struct MultiGet {
    client: Arc<Client>,
    inbox: OnceCell<Inbox>,
    turn: Semaphore,
    numbers: AtomicU64,
}

impl MultiGet {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client, inbox: OnceCell::new(), turn: Semaphore::new(IN_FLIGHT), numbers: AtomicU64::new(0) }
    }

    /// The newest message of each subject that has one.
    pub(super) async fn get(&self, stream: &str, subjects: &[String]) -> Result<Vec<Entry>, Fault> {
        let parts = try_join_all(chunks(subjects).map(|part| self.part(stream, part))).await?;
        Ok(parts.into_iter().flatten().collect())
    }

    async fn part(&self, stream: &str, subjects: &[String]) -> Result<Vec<Entry>, Fault> {
        let _turn = self.turn.acquire().await.map_err(|e| Fault::Unavailable(e.to_string()))?;
        let mut missing: Vec<&str> = subjects.iter().map(String::as_str).collect();
        let mut entries = Vec::with_capacity(subjects.len());
        loop {
            let answer = self.ask(stream, &missing).await?;
            let (more, none) = (answer.pending > 0, answer.entries.is_empty());
            entries.extend(answer.entries);
            if !more {
                return Ok(entries);
            }
            if none {
                return Err(Fault::Unavailable(format!("{stream}: an answer without end")));
            }
            let have: std::collections::HashSet<&str> = entries.iter().map(|entry| entry.subject.as_str()).collect();
            missing.retain(|subject| !have.contains(subject));
        }
    }

    async fn ask(&self, stream: &str, subjects: &[&str]) -> Result<Answer, Fault> {
        let inbox = self.inbox.get_or_try_init(|| Inbox::open(&self.client)).await?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut messages = inbox.expect(number);
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let request = json!({ "multi_last": subjects, "max_bytes": MAX_ANSWER }).to_string();
        bounded(&subject, self.client.publish_with_reply(subject.clone(), messages.reply.clone(), request.into()))
            .await?;
        let mut answer = Answer::default();
        loop {
            match tokio::time::timeout(PATIENCE, messages.receiver.recv()).await {
                Ok(Some(message)) => {
                    if answer.take(stream, message)? {
                        return Ok(answer);
                    }
                }
                Ok(None) => return Err(Fault::Unavailable(format!("{subject}: the connection is closed"))),
                Err(_) => return Err(Fault::Unavailable(format!("{subject}: no answer"))),
            }
        }
    }
}

/// Parts within the limits of a request.
fn chunks(subjects: &[String]) -> impl Iterator<Item = &[String]> {
    let mut rest = subjects;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |subject: &&String| {
            bytes += subject.len() + 3;
            bytes <= MAX_REQUEST
        };
        let count = rest.iter().take(MAX_SUBJECTS).take_while(fits).count().max(1);
        if rest.is_empty() {
            return None;
        }
        let (part, more) = rest.split_at(count);
        rest = more;
        Some(part)
    })
}

/// An answer as it arrives. Each message names the place of the one before, so that a lost one is seen: a key that
/// only got lost must not pass for one that is not there.
#[derive(Default)]
struct Answer {
    entries: Vec<Entry>,
    pending: u64,
}

impl Answer {
    /// Takes the next message; true at the end.
    fn take(&mut self, stream: &str, message: Message) -> Result<bool, Fault> {
        let number = |name| message.headers.as_ref().and_then(|h| added(h, name)).and_then(|v| v.parse::<u64>().ok());
        let before = self.entries.last().map_or(0, |entry| entry.revision);
        let (last, pending) = (number("Nats-Last-Sequence"), number("Nats-Num-Pending"));
        let status = message.status.map(|status| status.as_u16());
        match status {
            Some(404) => return Ok(true),
            None | Some(200 | 204) if last != Some(before) => {
                return Err(Fault::Unavailable(format!("{stream}: a part of an answer was lost")));
            }
            Some(204) => {
                self.pending = pending.unwrap_or(0);
                return Ok(true);
            }
            None | Some(200) => self.entries.push(from_direct(message)?),
            Some(status) => {
                let why = message.description.unwrap_or_default();
                return Err(Fault::Unavailable(format!("{stream}: direct get: {status} {why}")));
            }
        }
        Ok(false)
    }
}

/// The one subscription, and who waits for what.
struct Inbox {
    subject: String,
    waiting: Waiting,
    task: AbortHandle,
}

impl Inbox {
    async fn open(client: &Client) -> Result<Self, Fault> {
        let subject = client.new_inbox();
        let mut answers = bounded("subscribe", client.subscribe(format!("{subject}.*"))).await?;
        let waiting = Waiting::default();
        let task = tokio::spawn({
            let waiting = waiting.clone();
            async move {
                while let Some(message) = answers.next().await {
                    let number = message.subject.rsplit('.').next().and_then(|n| n.parse::<u64>().ok());
                    let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    // Nobody waits any more for the rest of an answer that was given up.
                    if let Some(sender) = number.and_then(|n| waiting.get(&n)) {
                        let _ = sender.send(message);
                    }
                }
                waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        });
        Ok(Self { subject, waiting, task: task.abort_handle() })
    }

    fn expect(&self, number: u64) -> Expected {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        Expected { reply: format!("{}.{number}", self.subject), number, receiver, waiting: self.waiting.clone() }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer to one request.
struct Expected {
    reply: String,
    number: u64,
    receiver: mpsc::UnboundedReceiver<Message>,
    waiting: Waiting,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
