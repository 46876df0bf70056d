//! The operations, each for all agents.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::{self, consumer::PullConsumer};
use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use muster_testkit::NatsServer;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

use super::Cost;
use super::batch::{Message, store};
use super::samples::Sample;
use crate::os;
use crate::tasks::Kind;

/// Commands and results in a batch.
const BATCH: u32 = 1000;
/// Records in a request or a batch: what leaves room for a decision and its sets.
const PAGE: u32 = 900;
/// Pushes that wait for their answer.
const OPEN: usize = 2000;
/// Messages that are asked for at once.
const PULLED: usize = 1000;

/// A server with the product's settings and streams, and nothing of the product on it.
pub struct Raw {
    control: Client,
    push: Client,
    fleet: Client,
    agents: u32,
    server: NatsServer,
}

impl Raw {
    /// Starts it, with the streams of the files in `nats/`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(agents: u32) -> Result<Self> {
        let server = NatsServer::as_process().await?;
        let control = server.control().await?;
        for (stream, file) in [
            ("KV_agents", include_str!("../../../../nats/buckets/KV_agents.json")),
            ("COMMANDS", include_str!("../../../../nats/streams/COMMANDS.json")),
            ("RUNS", include_str!("../../../../nats/streams/RUNS.json")),
            ("RESULTS", include_str!("../../../../nats/streams/RESULTS.json")),
        ] {
            call(&control, &format!("STREAM.CREATE.{stream}"), file.into()).await?;
        }
        let (push, fleet) = (server.agents("push").await?, server.agents("fleet").await?);
        Ok(Self { control, push, fleet, agents, server })
    }

    /// Processor time so far of the broker, and of this process.
    pub(super) fn cpu(&self) -> Result<(Duration, Duration)> {
        let broker = self.server.process_id().context("the server is not a process of this machine")?;
        Ok((os::cpu(broker)?, os::cpu(std::process::id())?))
    }

    /// What was spent since then, an agent.
    pub(super) fn cost(&self, (broker, client): (Duration, Duration)) -> Result<Cost> {
        let now = self.cpu()?;
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / f64::from(self.agents);
        Ok(Cost { broker: each(now.0.saturating_sub(broker)), client: each(now.1.saturating_sub(client)) })
    }

    /// Empties the streams of commands and results. Records stay: they are rewritten.
    pub(super) async fn clear(&self) -> Result<()> {
        for stream in ["COMMANDS", "RUNS", "RESULTS"] {
            call(&self.control, &format!("STREAM.PURGE.{stream}"), Bytes::new()).await?;
        }
        Ok(())
    }

    /// Reads and rewrites the records; gives the seconds of each.
    pub(super) async fn records(&self, sample: &Sample) -> Result<(f64, f64)> {
        let key = |n: u32| format!("$KV.agents.id.{:03}", n + 1);
        let bodies = sample.for_all(self.agents);
        let body = |n: u32| bodies.get(n as usize).cloned().unwrap_or_default();
        let record = |n: u32| Message { subject: key(n), headers: HeaderMap::new(), body: body(n) };
        store(&self.control, self.agents, PAGE, record).await?;
        let began = Instant::now();
        let starts: Vec<u32> = (0..self.agents).step_by(PAGE as usize).collect();
        let pages = starts.into_iter().map(|start| {
            let keys = (start..self.agents.min(start + PAGE)).map(key).collect();
            async move { self.read(keys).await }
        });
        let revisions: Vec<Vec<(String, u64)>> = stream::iter(pages).buffered(2).try_collect().await?;
        let read = began.elapsed().as_secs_f64();
        let revisions: Vec<(String, u64)> = revisions.into_iter().flatten().collect();
        ensure!(revisions.len() == self.agents as usize, "{} records were read", revisions.len());
        let began = Instant::now();
        let rewrite = |n: u32| {
            let (subject, revision) = revisions.get(n as usize).cloned().unwrap_or_default();
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string());
            Message { subject, headers, body: body(n) }
        };
        store(&self.control, self.agents, PAGE, rewrite).await?;
        Ok((read, began.elapsed().as_secs_f64()))
    }

    /// The keys and revisions of a page of records.
    async fn read(&self, keys: Vec<String>) -> Result<Vec<(String, u64)>> {
        let inbox = self.control.new_inbox();
        let mut answers = self.control.subscribe(inbox.clone()).await?;
        let question = json!({ "multi_last": keys }).to_string();
        self.control.publish_with_reply("$JS.API.DIRECT.GET.KV_agents", inbox, question.into()).await?;
        let mut found = Vec::with_capacity(keys.len());
        while let Some(answer) = answers.next().await {
            let headers = answer.headers.unwrap_or_default();
            let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
            match (header("Nats-Subject"), header("Nats-Sequence")) {
                (Some(subject), Some(revision)) => found.push((subject, revision.parse()?)),
                _ => return Ok(found),
            }
        }
        Ok(found)
    }

    /// Stores a command for each agent; gives the seconds.
    pub(super) async fn store_commands(&self, kind: Kind, sample: &Sample) -> Result<f64> {
        let bodies = sample.for_all(self.agents);
        let message = |n: u32| {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-TTL", "2592000");
            let subject = format!("commands.agent.{:03}.{}.raw", n + 1, kind.lane());
            Message { subject, headers, body: bodies.get(n as usize).cloned().unwrap_or_default() }
        };
        let began = Instant::now();
        store(&self.control, self.agents, BATCH, message).await?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Stores a result of each agent; gives the seconds.
    pub(super) async fn store_results(&self, sample: &Sample) -> Result<f64> {
        let bodies = sample.for_all(self.agents);
        let message = |n: u32| {
            let subject = format!("results.raw.{:03}", n + 1);
            Message { subject, headers: HeaderMap::new(), body: bodies.get(n as usize).cloned().unwrap_or_default() }
        };
        let began = Instant::now();
        store(&self.control, self.agents, BATCH, message).await?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Fetches and acknowledges what a stream holds, by a durable consumer as the product's; gives the seconds.
    pub(super) async fn fetch(&self, stream: &str) -> Result<f64> {
        let config = json!({ "durable_name": "raw", "ack_policy": "explicit", "ack_wait": 30_000_000_000_u64,
            "max_deliver": -1, "max_ack_pending": 20_000, "max_waiting": 512, "deliver_policy": "all" });
        let create = json!({ "stream_name": stream, "config": config });
        call(&self.control, &format!("CONSUMER.CREATE.{stream}.raw"), create.to_string().into()).await?;
        let began = Instant::now();
        let jetstream = jetstream::new(self.control.clone());
        let mut consumer: PullConsumer = jetstream.get_consumer_from_stream("raw", stream).await?;
        let mut messages = consumer.stream().max_messages_per_batch(PULLED).messages().await?;
        for _ in 0..self.agents {
            let message = messages.next().await.context("the stream has ended")??;
            message.ack().await.map_err(anyhow::Error::from_boxed)?;
        }
        while consumer.info().await?.num_ack_pending > 0 {}
        let took = began.elapsed().as_secs_f64();
        call(&self.control, &format!("CONSUMER.DELETE.{stream}.raw"), Bytes::new()).await?;
        Ok(took)
    }

    /// Pushes to each agent and waits for each answer; gives the seconds.
    pub(super) async fn push(&self, sample: &Sample, answer: &Sample) -> Result<f64> {
        let (bodies, answer) = (sample.for_all(self.agents), answer.for_all(1).swap_remove(0));
        let commands = self.fleet.subscribe("agent.*.command").await?;
        let agents = tokio::spawn(answer_all(self.fleet.clone(), commands, answer.clone()));
        // Any request waits until the server has made the subscription.
        let _ = self.fleet.request("agent.001.nobody", Bytes::new()).await;
        let mut answers = self.push.subscribe("agent.*.rx.raw.*").await?;
        self.push.flush().await?;
        let (open, push) = (Arc::new(Semaphore::new(OPEN)), self.push.clone());
        let room = open.clone();
        let began = Instant::now();
        let pushing = tokio::spawn(async move {
            for (n, body) in (1..).zip(bodies) {
                room.acquire().await?.forget();
                let (to, reply) = (format!("agent.{n:03}.command"), format!("agent.{n:03}.rx.raw.{n}"));
                push.publish_with_reply(to, reply, body).await?;
            }
            anyhow::Ok(())
        });
        for _ in 0..self.agents {
            answers.next().await.context("the answers have ended")?;
            open.add_permits(1);
        }
        let took = began.elapsed().as_secs_f64();
        pushing.await??;
        agents.abort();
        Ok(took)
    }
}

async fn answer_all(client: Client, mut commands: Subscriber, answer: Bytes) -> Result<()> {
    while let Some(command) = commands.next().await {
        let reply = command.reply.context("a push without a reply subject")?;
        client.publish(reply, answer.clone()).await?;
    }
    Ok(())
}

async fn call(client: &Client, api: &str, body: Bytes) -> Result<()> {
    let answer = client.request(format!("$JS.API.{api}"), body).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    ensure!(answer["error"].is_null(), "{api}: {answer}");
    Ok(())
}
