//! The rules in force: a ruleset is loaded as a whole or not at all, and each event is judged by one whole ruleset. Asked
//! at `node.event.test` (any node) and `node.event.test.<node>` (this one).

use std::sync::Arc;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::select;
use muster_agent::rules::outcome::{NOT_APPLIED, outcome};
use muster_core::message::{Outcome, Refused};
use muster_core::problem::in_words;
use muster_sigma::{Engine, Event};
use serde_json::{Value, json};
use tokio::task::{AbortHandle, spawn_blocking};

use crate::guard::NODES;

/// The subject of events that are only tried.
const TEST: &str = "node.event.test";

/// A node's engine.
pub struct Rules {
    engine: Arc<Engine>,
    answering: AbortHandle,
}

impl Rules {
    /// An engine without rules, which answers from now on.
    ///
    /// # Errors
    /// When the subjects cannot be listened on.
    pub async fn start(client: &Client, id: &str) -> anyhow::Result<Self> {
        let engine = Arc::new(Engine::default());
        let any = client.queue_subscribe(TEST, NODES.to_owned()).await?;
        let this = client.subscribe(format!("{TEST}.{id}")).await?;
        let answering = tokio::spawn(answer(client.clone(), any, this, engine.clone())).abort_handle();
        Ok(Self { engine, answering })
    }

    /// Puts a ruleset in force; a bad one leaves the one before.
    ///
    /// # Errors
    /// Which files are bad, and why.
    pub async fn put(&self, revision: u64, body: String) -> Result<Value, Outcome> {
        let engine = self.engine.clone();
        // Compiling a large ruleset takes its time.
        let replaced = spawn_blocking(move || engine.replace(revision, body.as_bytes())).await;
        match replaced {
            Ok(Ok(_)) => Ok(json!({ "revision": revision, "judged": self.engine.judged() })),
            Ok(Err(problems)) => Err(outcome(NOT_APPLIED, in_words(&problems))),
            Err(error) => Err(outcome(NOT_APPLIED, format!("the ruleset was not loaded: {error}"))),
        }
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

async fn answer(client: Client, any: Subscriber, this: Subscriber, engine: Arc<Engine>) {
    let mut events = select(any, this);
    while let Some(message) = events.next().await {
        let Some(reply) = message.reply else { continue };
        let (client, engine) = (client.clone(), engine.clone());
        tokio::spawn(async move {
            // The costliest rules may take seconds for the largest event.
            let judged = spawn_blocking(move || judge(&engine, &message.payload)).await;
            if let Ok(answer) = judged
                && let Err(error) = client.publish(reply, answer).await
            {
                tracing::warn!(%error, "what an event matches was not sent");
            }
        });
    }
}

/// What an event matches, or why it is none.
fn judge(engine: &Engine, payload: &[u8]) -> Bytes {
    let answer = match Event::parse(payload) {
        Ok(event) => serde_json::to_vec(&engine.judge(&event)),
        Err(problem) => serde_json::to_vec(&Refused { errors: vec![problem] }),
    };
    // Texts and numbers: both have a JSON form.
    answer.unwrap_or_default().into()
}
