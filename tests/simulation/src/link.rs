//! The way from a gateway to the agents, and what closes their connections.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use muster_broker::{Fault, Link, Pushed};
use muster_comms_api::{Connections, Nodes};
use muster_core::message::HandOver;
use muster_core::numbers::Numbers;
use muster_core::package::Chunk;
use muster_core::record::agent_id;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::agent::Event;
use crate::process::Process;

/// The agents, as a gateway reaches them.
pub struct Agents(pub Arc<Process>);

impl Agents {
    fn watch(&self, message: &Bytes) {
        let Process { net, name, .. } = &*self.0;
        match serde_json::from_slice::<HandOver>(message) {
            Ok(hand_over) => net.monitor.handed_over(net, name, &hand_over),
            Err(error) => net.violation(format!("{name}: a push cannot be read: {error}")),
        }
    }

    fn is_lost(&self) -> bool {
        self.0.net.faulty() && self.0.chance.hits(self.0.net.settings.losses)
    }
}

#[async_trait]
impl Link for Agents {
    async fn push(&self, agent: &str, message: Bytes, wait: Duration) -> Result<Pushed, Fault> {
        let Process { net, name, .. } = &*self.0;
        let number = self.0.begin().await;
        if net.is_down() {
            return Err(Fault::Unavailable("simulated: the server is away".into()));
        }
        self.watch(&message);
        let (reply, answer) = oneshot::channel();
        let (lost, there) = (self.is_lost(), net.is_connected(agent));
        net.note(name, || format!("pushes to {agent}: {}", if lost { "it is lost" } else { "sent" }));
        if !there {
            self.0.end(number).await;
            return Ok(Pushed::NoResponder);
        }
        if !lost {
            net.deliver(agent, Event::Push(message, reply));
        }
        let answer = timeout(wait, answer).await;
        self.0.end(number).await;
        match answer {
            Ok(Ok(answer)) if !self.is_lost() => Ok(Pushed::Answered(answer)),
            Ok(_) => {
                sleep(wait).await;
                Ok(Pushed::Silence)
            }
            Err(_) => Ok(Pushed::Silence),
        }
    }

    async fn tell(&self, agent: &str, message: Bytes) -> Result<(), Fault> {
        let number = self.0.begin().await;
        self.watch(&message);
        if !self.is_lost() {
            self.0.net.deliver(agent, Event::Told(message));
        }
        self.0.end(number).await;
        Ok(())
    }
}

#[async_trait]
impl Connections for Agents {
    async fn close(&self, agents: &Numbers) -> Result<Numbers, String> {
        let number = self.0.begin().await;
        if self.0.net.is_down() {
            return Err("simulated: the server is away".into());
        }
        let stood = agents.iter().filter(|agent| self.0.net.bars(&agent_id(*agent))).collect();
        self.0.end(number).await;
        Ok(stood)
    }
}

/// A world has no server nodes.
pub struct NoNodes;

#[async_trait]
impl Nodes for NoNodes {
    async fn vulnerabilities(&self, _inventory: Bytes, _offset: u64) -> Result<Bytes, Fault> {
        Err(Fault::Unavailable("simulated: there are no nodes".into()))
    }

    async fn part(&self, _chunk: &Chunk) -> Result<Bytes, Fault> {
        Err(Fault::Unavailable("simulated: there are no nodes".into()))
    }
}
