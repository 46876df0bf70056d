//! How large the product's messages are: the first of each kind of a rollout, as it passes by.

use anyhow::{Context as _, Result};
use async_nats::{Client, Message, Subscriber};
use futures::StreamExt as _;
use muster_broker::{Broker as _, kv};
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
    pub async fn sizes(mut self, system: &System, agent: &str) -> Result<Sizes> {
        let record = system.bus.get(&kv::stream("agents"), &kv::subject("agents", &format!("id.{agent}"))).await?;
        let size = |message: Option<Message>| message.map(|message| message.payload.len());
        Ok(Sizes {
            record: record.and_then(|entry| entry.body).context("the agent has no record")?.len(),
            command: size(self.command.next().await).context("no command passed by")?,
            push: size(self.push.next().await).context("no push passed by")?,
            answer: size(self.answer.next().await).context("no answer passed by")?,
            result: size(self.result.next().await).context("no result passed by")?,
        })
    }
}

async fn first(client: &Client, subject: String) -> Result<Subscriber> {
    let mut subscriber = client.subscribe(subject).await?;
    subscriber.unsubscribe_after(1).await?;
    Ok(subscriber)
}
