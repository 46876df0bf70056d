//! Pushes to agents, answered on a subject that only the agent may use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, StatusCode};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use muster_telemetry::metrics::OpenPush;
use muster_telemetry::trace::Origin;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::api::bounded;
use crate::{Fault, Link, Pushed};

type Waiting = Arc<Mutex<HashMap<u64, Push>>>;

struct Push {
    agent: String,
    answer: oneshot::Sender<Pushed>,
}

/// The way to the agents over a connection of the user `push`. A push's reply subject is
/// `agent.<id>.rx.<gateway>.<slot>`; slots are never used twice. How many are open at once is for the caller to bound: more
/// than some 2,000 are not faster.
pub struct NatsLink {
    client: Client,
    gateway: String,
    slots: AtomicU64,
    waiting: Waiting,
    task: AbortHandle,
}

impl NatsLink {
    /// Subscribes to the answers. The gateway's part of the subjects is random.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    pub async fn new(client: Client) -> Result<Self, Fault> {
        let gateway = nuid::next().to_string();
        let mut answers = bounded("subscribe", client.subscribe(format!("agent.*.rx.{gateway}.*"))).await?;
        let waiting = Waiting::default();
        let task = tokio::spawn({
            let waiting = waiting.clone();
            async move {
                while let Some(message) = answers.next().await {
                    take(&waiting, message);
                }
                waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        });
        Ok(Self { client, gateway, slots: AtomicU64::new(0), waiting, task: task.abort_handle() })
    }

    async fn send(&self, agent: &str, reply: Option<String>, message: Bytes) -> Result<(), Fault> {
        if agent.is_empty() || !agent.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)) {
            return Err(Fault::Refused(format!("'{}' is no agent id", agent.escape_default())));
        }
        if message.len() > self.client.max_payload() {
            return Err(Fault::Refused(format!("{} bytes for agent {agent} are too many", message.len())));
        }
        let subject = format!("agent.{agent}.command");
        let (client, to) = (&self.client, subject.clone());
        match (reply, Origin::current().header()) {
            (Some(reply), Some((name, value))) => {
                let mut headers = HeaderMap::new();
                headers.insert(name, value);
                bounded(&subject, client.publish_with_reply_and_headers(to, reply, headers, message)).await
            }
            (Some(reply), None) => bounded(&subject, client.publish_with_reply(to, reply, message)).await,
            (None, _) => bounded(&subject, client.publish(to, message)).await,
        }
    }
}

/// Hands an answer to who waits for it; one from another agent than the asked, or one that comes too late, to nobody.
fn take(waiting: &Waiting, message: Message) {
    let mut tokens = message.subject.split('.');
    let (agent, slot) = (tokens.nth(1), tokens.nth(2).and_then(|slot| slot.parse().ok()));
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(slot) = slot.filter(|slot| waiting.get(slot).is_some_and(|push| Some(push.agent.as_str()) == agent))
    else {
        return;
    };
    let Some(push) = waiting.remove(&slot) else { return };
    let _ = push.answer.send(match message.status {
        Some(StatusCode::NO_RESPONDERS) => Pushed::NoResponder,
        _ => Pushed::Answered(message.payload),
    });
}

#[async_trait]
impl Link for NatsLink {
    async fn push(&self, agent: &str, message: Bytes, wait: Duration) -> Result<Pushed, Fault> {
        let slot = Slot { number: self.slots.fetch_add(1, Ordering::Relaxed), waiting: &self.waiting };
        let (answer, answered) = oneshot::channel();
        let push = Push { agent: agent.to_owned(), answer };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(slot.number, push);
        let _open = OpenPush::begin();
        self.send(agent, Some(format!("agent.{agent}.rx.{}.{}", self.gateway, slot.number)), message).await?;
        match tokio::time::timeout(wait, answered).await {
            Ok(Ok(pushed)) => Ok(pushed),
            Ok(Err(_)) => Err(Fault::Unavailable("the connection is closed".into())),
            Err(_) => Ok(Pushed::Silence),
        }
    }

    async fn tell(&self, agent: &str, message: Bytes) -> Result<(), Fault> {
        self.send(agent, None, message).await
    }
}

impl Drop for NatsLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Nobody waits in the slot any more once this is dropped.
struct Slot<'a> {
    number: u64,
    waiting: &'a Waiting,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
