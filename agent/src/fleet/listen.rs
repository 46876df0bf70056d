//! How agents of a fleet hear pushes.

use std::sync::Arc;

use async_nats::{Client, Message};
use futures::{FutureExt as _, StreamExt as _};
use muster_core::message::HandOver;
use muster_core::record::agent_number;

use super::Inner;
use super::line::Line;

impl Inner {
    pub(super) fn line(&self, index: u32) -> &Line {
        &self.lines[index as usize % self.lines.len()]
    }

    pub(super) fn client(&self, index: u32) -> &Client {
        &self.line(index).client
    }

    /// All agents listen on one subject; the connections of this fleet share what comes.
    pub(super) async fn listen_together(self: &Arc<Self>) -> anyhow::Result<()> {
        let group = self.lines[0].client.new_inbox().replace('.', "-");
        for Line { client, .. } in &self.lines {
            let mut pushes = client.queue_subscribe("agent.*.command", group.clone()).await?;
            let fleet = self.clone();
            tokio::spawn(async move {
                while let Some(push) = fleet.stop.run_until_cancelled(pushes.next()).await.flatten() {
                    let number = push.subject.split('.').nth(1).and_then(agent_number);
                    if let Some(index) = number.and_then(|number| fleet.by_number.get(&number)) {
                        fleet.pushed(*index, push);
                    }
                }
            });
        }
        self.barrier().await;
        Ok(())
    }

    /// One agent listens on its own subject.
    pub(super) async fn listen_alone(self: Arc<Self>, index: u32) -> anyhow::Result<()> {
        let agent = &self.agents[index as usize];
        let mut pushes = self.client(index).subscribe(format!("agent.{}.command", agent.id())).await?;
        let fleet = self.clone();
        // Aborting the task drops the subscription, which ends it on the server.
        let listener = tokio::spawn(async move {
            while let Some(push) = fleet.stop.run_until_cancelled(pushes.next()).await.flatten() {
                fleet.pushed(index, push);
            }
        });
        if let Some(before) = agent.mind().listener.replace(listener.abort_handle()) {
            before.abort();
        }
        Ok(())
    }

    /// Waits until the server has made the subscriptions that were sent. A flush does not wait for it; any request
    /// does, also one that nobody answers.
    pub(super) async fn barrier(&self) {
        for (index, Line { client, .. }) in (0..).zip(&self.lines) {
            let Some(agent) = self.agents.get(index) else { return };
            let _ = client.request(format!("agent.{}.nobody", agent.id()), "".into()).await;
        }
    }

    fn pushed(self: &Arc<Self>, index: u32, push: Message) {
        if !self.agents[index as usize].is_online() {
            return;
        }
        let hand_over = match serde_json::from_slice::<HandOver>(&push.payload) {
            Ok(hand_over) => hand_over,
            Err(error) => return tracing::warn!(%error, subject = %push.subject, "a push cannot be read"),
        };
        // Most answers wait for nothing, and a task for each would cost more than the answer.
        let mut answering = Box::pin(self.clone().answer_push(index, hand_over, push.reply));
        if answering.as_mut().now_or_never().is_none() {
            tokio::spawn(answering);
        }
    }
}
