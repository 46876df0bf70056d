//! What the product's messages are: the first of each kind of a rollout, as it passes by. The raw operations send the
//! same to all agents, with their own ids in it: a stream that compresses has no easier and no harder task than the
//! product gives it.

use anyhow::{Context as _, Result};
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use muster_broker::{Broker as _, kv};
use muster_core::record::agent_id;
use serde::Serialize;

use crate::system::System;
use crate::tasks::Kind;

/// Bytes of the payloads.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sizes {
    /// An agent's record.
    pub record: usize,
    /// A command in its stream.
    pub command: usize,
    /// A push to an agent, with the contents attached.
    pub push: usize,
    /// The agent's answer.
    pub answer: usize,
    /// A result in its stream.
    pub result: usize,
}

/// One message of each kind.
#[derive(Debug)]
pub struct Samples {
    pub(super) record: Sample,
    pub(super) command: Sample,
    pub(super) push: Sample,
    pub(super) answer: Sample,
    pub(super) result: Sample,
}

impl Samples {
    /// How large they are.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            record: self.record.body.len(),
            command: self.command.body.len(),
            push: self.push.body.len(),
            answer: self.answer.body.len(),
            result: self.result.body.len(),
        }
    }
}

/// A payload, and the agent it is about.
#[derive(Debug)]
pub(super) struct Sample {
    agent: String,
    body: Bytes,
}

impl Sample {
    /// The same for the agents 1 to `agents`.
    pub(super) fn for_all(&self, agents: u32) -> Vec<Bytes> {
        let text = String::from_utf8_lossy(&self.body);
        (1..=agents).map(|number| Bytes::from(text.replace(&self.agent, &agent_id(number)))).collect()
    }
}

/// Listens for the first message of each kind. After that the server sends it nothing any more.
pub struct Spy {
    command: Subscriber,
    push: Subscriber,
    answer: Subscriber,
    result: Subscriber,
}

impl Spy {
    /// Begins to listen.
    ///
    /// # Errors
    /// When a user of the server cannot connect.
    pub async fn start(system: &System, kind: Kind) -> Result<Self> {
        let (fleet, push) = (system.server.agents("fleet").await?, system.server.agents("push").await?);
        let spy = Self {
            command: first(&system.client, format!("commands.agent.*.{}.*", kind.lane())).await?,
            push: first(&fleet, "agent.*.command".into()).await?,
            answer: first(&push, "agent.*.rx.>".into()).await?,
            result: first(&system.client, "results.*.*".into()).await?,
        };
        // A flush does not wait for the server; what it answers later than the subscriptions does.
        for client in [&fleet, &push] {
            client.flush().await?;
        }
        system.bus.list(&kv::stream("tasks"), &kv::subject("tasks", "none")).await?;
        Ok(spy)
    }

    /// What was heard.
    ///
    /// # Errors
    /// When a kind of message did not come, or there is no record.
    pub async fn samples(mut self, system: &System, agent: &str) -> Result<Samples> {
        let record = system.bus.get(&kv::stream("agents"), &kv::subject("agents", &format!("id.{agent}"))).await?;
        let record = record.and_then(|entry| entry.body).context("the agent has no record")?;
        Ok(Samples {
            record: Sample { agent: agent.to_owned(), body: record },
            command: next(&mut self.command, 2).await.context("no command passed by")?,
            push: next(&mut self.push, 1).await.context("no push passed by")?,
            answer: next(&mut self.answer, 1).await.context("no answer passed by")?,
            result: next(&mut self.result, 2).await.context("no result passed by")?,
        })
    }
}

/// The message that was heard; the token of its subject at this place is the agent's id.
async fn next(heard: &mut Subscriber, token: usize) -> Option<Sample> {
    let message = heard.next().await?;
    let agent = message.subject.split('.').nth(token)?.to_owned();
    Some(Sample { agent, body: message.payload })
}

async fn first(client: &Client, subject: String) -> Result<Subscriber> {
    let mut subscriber = client.subscribe(subject).await?;
    subscriber.unsubscribe_after(1).await?;
    Ok(subscriber)
}
