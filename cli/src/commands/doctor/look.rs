//! What a doctor looks at: the JetStream API, the buckets, and who answers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::Client;
use futures::StreamExt;
use muster_broker::nats::NatsBroker;
use muster_broker::topology::{self, Difference};
use muster_broker::{Broker as _, kv};
use muster_core::dead::DeadLetter;
use muster_core::instant::Instant;
use muster_core::summary::Summary;
use serde_json::{Value, json};

use crate::parts;

/// How long the server may take for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long functions and services may take to say that they are there.
const ROLL_CALL: Duration = Duration::from_secs(3);
/// After so long without another voice, all who are there are taken to have answered.
const QUIET: Duration = Duration::from_millis(200);
/// At most so many parked messages are read.
const LETTERS: usize = 1000;

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// The server's time.
    pub(super) now: Instant,
    /// The server's version.
    pub(super) version: String,
    /// The level of its JetStream API.
    pub(super) api_level: u64,
    /// Its disk.
    pub(super) storage: Storage,
    /// When it writes to disk.
    pub(super) durability: Durability,
    /// What does not stand as the files say.
    pub(super) differences: Vec<Difference>,
    /// The durable consumers.
    pub(super) consumers: Vec<Consumer>,
    /// What should run.
    pub(super) parts: Vec<Part>,
    /// The tasks that have not ended.
    pub(super) open: Vec<Summary>,
    /// The last place of TASKS that each of its consumers was given.
    pub(super) delivered: BTreeMap<String, u64>,
    /// What was parked.
    pub(super) letters: Vec<Letter>,
}

/// What the account stores on disk, in bytes.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) used: u64,
    pub(super) limit: Option<u64>,
}

/// When an acknowledged message is on disk.
#[derive(Debug)]
pub(super) enum Durability {
    /// Before it is acknowledged.
    Always,
    /// At this interval.
    Every(String),
    /// The server does not say it to this account.
    Unknown,
}

/// A durable consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) stream: String,
    pub(super) name: String,
    /// How many messages were not delivered yet.
    pub(super) pending: u64,
    /// How many were delivered and not acknowledged.
    pub(super) unacked: u64,
    /// How many of these were delivered more than once.
    pub(super) redelivered: u64,
    /// How many pulls wait for messages.
    pub(super) readers: u64,
    /// When the oldest message that is not acknowledged was stored.
    pub(super) oldest: Option<Instant>,
    pub(super) paused: bool,
}

/// A function or service.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    /// The version of each copy that answers.
    pub(super) versions: Vec<String>,
}

/// A parked message.
#[derive(Debug)]
pub(super) struct Letter {
    /// Where it lies in DEAD.
    pub(super) subject: String,
    /// When it was parked.
    pub(super) at: Instant,
    /// Where it was published.
    pub(super) about: String,
    pub(super) reason: String,
}

/// Looks at everything.
///
/// # Errors
/// When the server has no JetStream for us, or does not answer.
pub(super) async fn look(client: &Client) -> anyhow::Result<Seen> {
    let account = api(client, "INFO", json!({})).await?;
    let differences = topology::verify(client).await?;
    let (consumers, delivered, now) = consumers(client).await?;
    let bus = NatsBroker::new(client.clone());
    let missing = |stream: &str| {
        let name = format!("stream {stream}");
        differences.iter().any(|d| matches!(d, Difference::Missing { asset } if *asset == name))
    };
    let open = if missing("KV_tasks") { Vec::new() } else { open(&bus).await? };
    let letters = if missing("DEAD") { Vec::new() } else { letters(&bus).await? };
    let limit = account["limits"]["max_storage"].as_i64().and_then(|limit| u64::try_from(limit).ok());
    Ok(Seen {
        now,
        version: client.server_info().version,
        api_level: account["api"]["level"].as_u64().unwrap_or_default(),
        storage: Storage { used: account["storage"].as_u64().unwrap_or_default(), limit: limit.filter(|n| *n > 0) },
        durability: durability(client).await,
        differences,
        consumers,
        parts: roll_call(client).await?,
        open,
        delivered,
        letters,
    })
}

/// Asks the JetStream API; `subject` without its prefix.
async fn api(client: &Client, subject: &str, body: Value) -> anyhow::Result<Value> {
    let request = async_nats::Request::new().payload(body.to_string().into()).timeout(Some(ANSWER));
    let answer = client.send_request(format!("$JS.API.{subject}"), request).await;
    let answer = answer.with_context(|| format!("JetStream does not answer {subject}: is this its account?"))?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    if !answer["error"].is_null() {
        bail!("JetStream refuses {subject}: {}", answer["error"]["description"]);
    }
    Ok(answer)
}

/// The durable consumers of all streams, the last place that each consumer of TASKS was given, and the server's time.
async fn consumers(client: &Client) -> anyhow::Result<(Vec<Consumer>, BTreeMap<String, u64>, Instant)> {
    let (mut out, mut delivered) = (Vec::new(), BTreeMap::new());
    let streams = api(client, "STREAM.NAMES", json!({})).await?;
    for stream in streams["streams"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        // One page holds 256; our streams have room for 64.
        let list = api(client, &format!("CONSUMER.LIST.{stream}"), json!({})).await?;
        let all = list["consumers"].as_array().into_iter().flatten();
        for info in all.filter(|info| info["config"]["durable_name"].is_string()) {
            let name = info["name"].as_str().unwrap_or_default().to_owned();
            if stream == "TASKS" {
                delivered.insert(name.clone(), info["delivered"]["stream_seq"].as_u64().unwrap_or_default());
            }
            let number = |field: &str| info[field].as_u64().unwrap_or_default();
            let (pending, unacked) = (number("num_pending"), number("num_ack_pending"));
            out.push(Consumer {
                stream: stream.to_owned(),
                pending,
                unacked,
                redelivered: number("num_redelivered"),
                readers: number("num_waiting"),
                oldest: if pending + unacked > 0 { oldest(client, stream, info).await? } else { None },
                paused: info["paused"].as_bool().unwrap_or_default(),
                name,
            });
        }
    }
    Ok((out, delivered, server_time(client).await?))
}

/// When the first message that a consumer has not acknowledged was stored; none when it has gone meanwhile.
async fn oldest(client: &Client, stream: &str, info: &Value) -> anyhow::Result<Option<Instant>> {
    let place = info["ack_floor"]["stream_seq"].as_u64().unwrap_or_default() + 1;
    let filter = info["config"]["filter_subject"].as_str().filter(|filter| !filter.is_empty()).unwrap_or(">");
    let request = json!({ "seq": place, "next_by_subj": filter });
    let found = api(client, &format!("STREAM.MSG.GET.{stream}"), request).await.ok();
    Ok(found.and_then(|found| Instant::parse(found["message"]["time"].as_str()?)))
}

/// The time of the server's clock, with which it dates messages.
async fn server_time(client: &Client) -> anyhow::Result<Instant> {
    // Only answers about one stream carry it. Without streams there is nothing whose age matters.
    let info = api(client, "STREAM.INFO.TASKS", json!({})).await.ok();
    let at = info.as_ref().and_then(|info| Instant::parse(info["ts"].as_str()?));
    Ok(at.unwrap_or_else(|| Instant::from_system(std::time::SystemTime::now())))
}

/// Only the system account may ask a server for its configuration; nobody answers the others.
async fn durability(client: &Client) -> Durability {
    let request = async_nats::Request::new().payload(r#"{"config":true}"#.into()).timeout(Some(ANSWER));
    let Ok(answer) = client.send_request("$SYS.REQ.SERVER.PING.JSZ".to_owned(), request).await else {
        return Durability::Unknown;
    };
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
    let config = &answer["data"]["config"];
    match (config["sync_always"].as_bool(), config["sync_interval"].as_u64()) {
        (Some(true), _) => Durability::Always,
        (_, Some(nanoseconds)) => Durability::Every(format!("{:?}", Duration::from_nanos(nanoseconds))),
        _ => Durability::Unknown,
    }
}

/// Asks all functions and services to say that they are there.
async fn roll_call(client: &Client) -> anyhow::Result<Vec<Part>> {
    let mut parts: Vec<Part> =
        parts::names().into_iter().map(|name| Part { name: name.to_owned(), versions: Vec::new() }).collect();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    client.publish_with_reply("$SRV.PING", inbox, "".into()).await?;
    let end = tokio::time::Instant::now() + ROLL_CALL;
    loop {
        let all = parts.iter().all(|part| !part.versions.is_empty());
        let quiet = tokio::time::Instant::now() + QUIET;
        let Ok(Some(answer)) = tokio::time::timeout_at(if all { quiet.min(end) } else { end }, answers.next()).await
        else {
            return Ok(parts);
        };
        // Nobody at all is there: the server says so at once.
        if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            return Ok(parts);
        }
        let Ok(pong) = serde_json::from_slice::<Value>(&answer.payload) else { continue };
        if let Some(part) = parts.iter_mut().find(|part| pong["name"] == part.name.as_str()) {
            part.versions.push(pong["version"].as_str().unwrap_or_default().to_owned());
        }
    }
}

/// The tasks that have not ended.
async fn open(bus: &NatsBroker) -> anyhow::Result<Vec<Summary>> {
    let mut entries = bus.scan(&kv::stream("tasks"), &kv::subject("tasks", "*")).await?;
    let mut out = Vec::new();
    while let Some(entry) = entries.next().await.transpose()? {
        let Some(body) = entry.body else { continue };
        let summary: Summary = muster_broker::decode("tasks", &entry.subject, &body)?;
        if !summary.state.is_end() {
            out.push(summary);
        }
    }
    Ok(out)
}

/// What was parked, the oldest first.
async fn letters(bus: &NatsBroker) -> anyhow::Result<Vec<Letter>> {
    let mut entries = bus.scan("DEAD", "dead.>").await?;
    let mut out = Vec::new();
    while let Some(entry) = entries.next().await.transpose()? {
        let letter = serde_json::from_slice::<DeadLetter>(&entry.body.unwrap_or_default()).ok();
        let (about, reason) = letter.map_or_else(
            || ("unknown".to_owned(), "it is no letter of ours".to_owned()),
            |letter| (letter.subject, letter.reason),
        );
        out.push(Letter { subject: entry.subject, at: entry.at, about, reason });
        if out.len() >= LETTERS {
            break;
        }
    }
    Ok(out)
}
