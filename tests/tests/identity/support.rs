//! A server with a gateway, and somebody with a key.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use async_nats::{Client, ConnectOptions, Event};
use muster_broker::{Broker as _, Txn, kv, nats::NatsBroker};
use muster_core::message::{Enrolled, Refused};
use muster_core::numbers::Numbers;
use muster_core::record::{Agent, agent_id, agent_number};
use muster_testkit::{PATIENCE, eventually};
use muster_tests::System;
use nkeys::KeyPair;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A server and a gateway.
pub async fn gateway() -> Result<System> {
    let mut system = System::empty().await?;
    system.run("comms-api", &[])?;
    ready(&system, 1).await;
    Ok(system)
}

/// Waits until so many gateways listen for the server's questions: a newcomer is let in.
pub async fn ready(system: &System, round: u32) {
    eventually("a gateway lets newcomers in", PATIENCE, || async {
        let key = Somebody::new();
        key.connect(system, Some(&system.token)).await.map(drop).map_err(|e| format!("{round}: {e:#}"))
    })
    .await;
}

/// Whoever holds a key.
pub struct Somebody(pub KeyPair);

impl Somebody {
    pub fn new() -> Self {
        Self(KeyPair::new_user())
    }

    /// The key of a real agent.
    pub fn of(root: &Path) -> Result<Self> {
        Ok(Self(KeyPair::from_seed(std::fs::read_to_string(root.join("identity.nk"))?.trim())?))
    }

    pub fn nkey(&self) -> String {
        self.0.public_key()
    }

    pub fn options(&self, token: Option<&str>) -> ConnectOptions {
        let options = ConnectOptions::with_nkey(self.0.seed().unwrap());
        token.into_iter().fold(options, |options, token| options.token(token.to_owned()))
    }

    /// Connects, as an agent does; a refusal is an error.
    pub async fn connect(&self, system: &System, token: Option<&str>) -> Result<Client> {
        self.connect_as(system, token, &self.nkey()).await.map(|(client, _)| client)
    }

    /// The same with an inbox, and what happens to the connection.
    pub async fn connect_as(
        &self,
        system: &System,
        token: Option<&str>,
        inbox: &str,
    ) -> Result<(Client, UnboundedReceiver<Event>)> {
        connect(self.options(token).custom_inbox_prefix(format!("_INBOX.{inbox}")), &system.server.url()).await
    }

    /// Asks for an id: the id, or the code of the refusal.
    pub async fn enrol(&self, system: &System, name: &str) -> Result<Result<String, String>> {
        let client = self.connect(system, Some(&system.token)).await?;
        let asked = client.request(format!("enrol.{}", self.nkey()), json!({ "name": name }).to_string().into());
        let answer = tokio::time::timeout(PATIENCE, asked).await??;
        Ok(match serde_json::from_slice::<Refused>(&answer.payload) {
            Ok(refused) => Err(refused.errors[0].code.clone()),
            Err(_) => Ok(serde_json::from_slice::<Enrolled>(&answer.payload)?.id),
        })
    }

    /// Enrols, and connects as the agent.
    pub async fn become_agent(
        &self,
        system: &System,
        name: &str,
    ) -> Result<(String, Client, UnboundedReceiver<Event>)> {
        let id = self.enrol(system, name).await?.map_err(|code| anyhow::anyhow!("{name}: {code}"))?;
        let (client, events) = self.connect_as(system, None, &id).await?;
        Ok((id, client, events))
    }
}

/// Connects once. It stands when the server has answered a second time: the first PING of a server that waits for the
/// gateway looks to this client like success.
pub async fn connect(options: ConnectOptions, url: &str) -> Result<(Client, UnboundedReceiver<Event>)> {
    let (tell, mut told) = unbounded_channel();
    let client = options
        .reconnect_delay_callback(|_| std::time::Duration::from_millis(200))
        .event_callback(move |event| {
            let _ = tell.send(event);
            async {}
        })
        .connect(url)
        .await?;
    // Nobody may publish there: the server's word about it says that it knows who this is.
    client.publish("forbidden.to.all", "".into()).await?;
    loop {
        let event = tokio::time::timeout(PATIENCE, told.recv()).await?.context("the connection has ended")?;
        let text = event.to_string();
        if text.contains("forbidden.to.all") {
            return Ok((client, told));
        }
        ensure!(matches!(event, Event::Connected), "{text}");
    }
}

/// Marks an agent as deleted, in one batch, as agent-deletion does.
pub async fn mark_gone(system: &System, id: &str, gone: bool) -> Result<()> {
    let bus: muster_broker::Bus = std::sync::Arc::new(NatsBroker::new(system.client.clone()));
    let number = agent_number(id).context("no id")?;
    let (record, set) = (format!("id.{}", agent_id(number)), format!("gone.{}", Numbers::container(number)));
    let mut txn = Txn::new(&bus, "agents");
    txn.load([record.clone(), set.clone()]).await?;
    let agent: Agent = txn.get(&record)?.context("no record")?;
    txn.put_json(&record, &Agent { gone, ..agent })?;
    let mut numbers = txn.bytes(&set).map_or(Ok(Numbers::new()), |body| Numbers::decode(body)).unwrap();
    if gone {
        numbers.insert(number)
    } else {
        numbers.remove(number)
    };
    txn.put(&set, numbers.encode());
    txn.commit().await?;
    Ok(())
}

/// How many agents have a record.
pub async fn agents(system: &System) -> usize {
    system.bus.list("KV_agents", &kv::subject("agents", "id.*")).await.unwrap().len()
}
