//! A connection of a fleet. Its agents ask over it, each with an inbox of its own: the gateway answers nowhere else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Client, Message, StatusCode};
use futures::StreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::link::{ANSWER, Access, Unanswered, read};

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Message>>>>;

/// One subscription takes the answers to all agents: `_INBOX.*.<line>.*`.
pub(super) struct Line {
    pub(super) client: Client,
    name: String,
    slots: AtomicU64,
    waiting: Waiting,
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// When the address is none.
    pub(super) async fn open(access: &Access) -> anyhow::Result<Self> {
        let name = format!("fleet-{}", nuid::next());
        let client = access.connect(&name, None).await?;
        let mut answers = client.subscribe(format!("_INBOX.*.{name}.*")).await?;
        let waiting = Waiting::default();
        let asked = waiting.clone();
        // It ends with the connection.
        tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                let slot = answer.subject.rsplit('.').next().and_then(|slot| slot.parse().ok());
                let waits = |slot| asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
                if let Some(waits) = slot.and_then(waits) {
                    let _ = waits.send(answer);
                }
            }
        });
        Ok(Self { client, name, slots: AtomicU64::new(0), waiting })
    }

    /// Asks the gateway as one agent, by its id, or as a newcomer, by its nkey.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        asker: &str,
        subject: String,
        question: &impl Serialize,
    ) -> Result<T, Unanswered> {
        let question = serde_json::to_vec(question).map_err(|error| Unanswered::Garbled(error.to_string()))?;
        let silence = |why: &dyn std::fmt::Display| Unanswered::Silence(why.to_string());
        let slot = Slot { number: self.slots.fetch_add(1, Ordering::Relaxed), waiting: &self.waiting };
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(slot.number, sender);
        let reply = format!("_INBOX.{asker}.{}.{}", self.name, slot.number);
        let asked = self.client.publish_with_reply(subject, reply, question.into()).await;
        asked.map_err(|error| silence(&error))?;
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(answer)) if answer.status == Some(StatusCode::NO_RESPONDERS) => Err(silence(&"nobody is there")),
            Ok(Ok(answer)) => read(&answer.payload),
            Ok(Err(_)) => Err(silence(&"the connection has ended")),
            Err(_) => Err(silence(&"no answer in time")),
        }
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
