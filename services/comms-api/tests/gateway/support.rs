//! A server, gateways and agents, all real but for what agents do.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::Client;
use bytes::Bytes;
use muster_broker::nats::{ConnectionSettings, NatsBroker};
use muster_broker::{Broker, Write, decode, kv, topology};
use muster_core::instant::Instant;
use muster_core::message::{Action, Command, Enrolled, HandOver, Recipient, Refused};
use muster_core::record::Agent;
use muster_core::stamp::Stamp;
use muster_runtime::Shell;
use muster_testkit::{NatsServer, PATIENCE, ask_as, eventually};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A provisioned server and an agent's connection.
pub struct World {
    pub server: NatsServer,
    pub bus: NatsBroker,
    /// The user `fleet`, which may act as every agent.
    pub agents: Client,
}

/// A gateway at work.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Running {
    /// Shuts it down, as SIGTERM does.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await??
    }
}

impl World {
    pub async fn start() -> Result<Self> {
        let server = NatsServer::start().await?;
        let control = server.control().await?;
        topology::provision(&control, 1, false).await?;
        Ok(Self { bus: NatsBroker::new(control), agents: server.agents("fleet").await?, server })
    }

    pub async fn gateway(&self) -> Result<Running> {
        let stop = CancellationToken::new();
        let settings = ConnectionSettings::to(&self.server.url(), "comms-api")?.with_keys(self.server.keys().clone());
        let shell = Shell::connect("comms-api", &settings, stop.clone()).await?;
        let ready = shell.ready.clone();
        let task = tokio::spawn(muster_comms_api::run(shell));
        eventually("the gateway is ready", PATIENCE, || async { ready.get().then_some(()) }).await;
        Ok(Running { stop, task })
    }

    /// Asks as the agent that the subject names, and gives the answer as it is.
    pub async fn ask(&self, subject: &str, payload: impl Into<Bytes>) -> Result<Bytes> {
        let asker = subject.split('.').nth(1).unwrap_or_default();
        ask_as(&self.agents, asker, subject, payload).await
    }

    pub async fn ask_for<T: DeserializeOwned>(&self, subject: &str, message: &impl Serialize) -> Result<T> {
        let answer = self.ask(subject, serde_json::to_vec(message)?).await?;
        serde_json::from_slice(&answer).with_context(|| format!("{subject}: {}", String::from_utf8_lossy(&answer)))
    }

    /// The code of the refusal of a request.
    pub async fn refusal(&self, subject: &str, payload: impl Into<Bytes>) -> Result<String> {
        let answer = self.ask(subject, payload).await?;
        match serde_json::from_slice::<Refused>(&answer) {
            Ok(refused) => Ok(refused.errors[0].code.clone()),
            Err(_) => bail!("{subject} is answered: {}", String::from_utf8_lossy(&answer)),
        }
    }

    pub async fn enrol(&self, nkey: &str, name: &str) -> Result<Enrolled> {
        self.ask_for(&format!("enrol.{nkey}"), &json!({ "name": name })).await
    }

    pub async fn hello(&self, id: &str, lanes: Value) -> Result<HandOver> {
        self.ask_for(&format!("agent.{id}.hello"), &hello(lanes)).await
    }

    /// The value of a key of the bucket `agents`.
    pub async fn value(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.bus.get("KV_agents", &kv::subject("agents", key)).await?.and_then(|entry| entry.body))
    }

    pub async fn record(&self, id: &str) -> Result<Agent> {
        let key = format!("id.{id}");
        Ok(decode("agents", &key, &self.value(&key).await?.context("no record")?)?)
    }

    pub async fn put(&self, bucket: &str, key: &str, value: impl Into<Bytes>) -> Result<()> {
        Ok(self.bus.publish(&kv::stream(bucket), vec![Write::new(kv::subject(bucket, key), value)]).await?)
    }

    /// The stored message of a subject, once it is there.
    pub async fn stored(&self, stream: &str, subject: &str) -> Result<Value> {
        let look = || async { self.bus.get(stream, subject).await.ok().flatten().and_then(|entry| entry.body) };
        Ok(serde_json::from_slice(&eventually(subject, PATIENCE, look).await)?)
    }

    /// Waits until the gateways have settled all messages of a stream.
    pub async fn settled(&self, stream: &str) {
        let look = || async {
            let jetstream = async_nats::jetstream::new(self.bus.client().clone());
            let mut consumer: async_nats::jetstream::consumer::PullConsumer =
                jetstream.get_consumer_from_stream("comms-api", stream).await.map_err(|e| e.to_string())?;
            let info = consumer.info().await.map_err(|e| e.to_string())?;
            match (info.num_pending, info.num_ack_pending) {
                (0, 0) => Ok(()),
                open => Err(format!("{open:?} open")),
            }
        };
        eventually("all commands are settled", PATIENCE, look).await;
    }
}

/// A public key that nobody else has.
pub fn nkey(n: usize) -> String {
    let digits = format!("{n:07}").bytes().map(|d| char::from(b'A' + (d - b'0'))).collect::<String>();
    format!("U{}{digits}", "M".repeat(48))
}

pub fn hello(lanes: Value) -> Value {
    json!({ "ledger": "l", "version": "5.0.0", "os": "linux", "labels": { "site": "eu" }, "lanes": lanes })
}

/// An edge command for an agent, good for `life`.
pub fn edge(id: &str, task: &str, order: u64, life: Duration) -> Command {
    let now = Instant::from_system(std::time::SystemTime::now());
    Command {
        request_id: task.into(),
        order_id: format!("{task}:{id}"),
        source: None,
        user: None,
        target: Recipient { kind: "agent".into(), id: id.into() },
        action: Action { name: "run-active-response".into(), args: Value::Null, version: "1".into() },
        order: Stamp::new(0, order),
        timeout: 600,
        deliver_until: now.plus(life),
        sets: Default::default(),
    }
}

/// Where an edge command lies.
pub fn run_subject(command: &Command) -> String {
    format!("commands.agent.{}.run.{}", command.target.id, command.request_id)
}
