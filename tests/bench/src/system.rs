//! What is measured: a server with the product's own settings, a process for each function and service, and a virtual
//! fleet in this process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use async_nats::Client;
use muster_agent::fleet::{Fleet, Listening, Settings, fleet};
use muster_agent::link::Access;
use muster_broker::nats::NatsBroker;
use muster_broker::{Broker as _, kv, topology};
use muster_core::numbers::Numbers;
use muster_core::summary::Summary;
use muster_keys::Key;
use muster_testkit::{NatsServer, Process};
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::os;
use crate::watch::Watch;

/// What runs beside the server.
const PARTS: [&str; 7] = [
    "result-collector",
    "group-configuration",
    "group-assignment",
    "active-response-configuration",
    "active-response-execution",
    "task-manager",
    "comms-api",
];
/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(900);
/// Agents sync this rarely, in seconds, so that it is the task that is measured.
const SYNC_INTERVAL: &str = "3600";
/// The system is at rest when all of it uses less than this in a [`LOOK`].
const REST: Duration = Duration::from_millis(40);
const LOOK: Duration = Duration::from_millis(500);

/// A whole system.
pub struct System {
    /// A connection as the control user.
    pub client: Client,
    /// Buckets and streams as the product reads them.
    pub bus: NatsBroker,
    watch: Watch,
    parts: BTreeMap<&'static str, Process>,
    // Last: the parts end before the server does.
    /// The server.
    pub server: NatsServer,
}

/// The virtual agents of a system. They end when this is dropped.
pub struct Agents {
    /// The fleet.
    pub fleet: Fleet,
    _end: DropGuard,
}

/// How long the fleet took to come.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Arrival {
    /// So many agents.
    pub agents: u32,
    /// Seconds until all had an id, from the first request on.
    pub enrolled_s: f64,
    /// Enrolments a minute.
    pub per_minute: f64,
    /// Seconds until each hello was answered too.
    pub greeted_s: f64,
}

/// Processor time since the start, by process: `broker`, `fleet` (this process) and the parts' names.
pub type Cpu = BTreeMap<String, Duration>;

impl System {
    /// Starts all of it on an empty server.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start() -> Result<Self> {
        let server = NatsServer::as_process().await?;
        let client = server.control().await?;
        let report = topology::provision(&client, 1, false).await?;
        ensure!(report.is_in_place(), "not provisioned: {:?}", report.differences);
        let watch = Watch::start(&client).await?;
        let mut parts = BTreeMap::new();
        for part in PARTS {
            let mut command = program()?;
            command.args(["run", part]).env("NATS_URL", server.url()).env("MUSTER_KEYS", server.keys().directory());
            command.env("RUST_LOG", "warn,async_nats=warn").env("MUSTER_SYNC_INTERVAL", SYNC_INTERVAL);
            parts.insert(part, Process::start(command)?);
        }
        Ok(Self { bus: NatsBroker::new(client.clone()), client, watch, parts, server })
    }

    /// Lets so many virtual agents enrol and say hello.
    ///
    /// # Errors
    /// When one cannot enrol, or a part has ended.
    pub async fn agents(&self, count: u32) -> Result<(Agents, Arrival)> {
        let seed = self.server.keys().pair(Key::Fleet)?.seed()?;
        let access = Access { url: self.server.url(), seed: seed.into(), token: None };
        let settings = Settings { listening: Listening::Together, ..Settings::new(access, count) };
        let end = CancellationToken::new();
        let (stop, guard) = (end.clone(), end.drop_guard());
        let began = Instant::now();
        let arriving = tokio::spawn(fleet(settings, stop));
        while self.enrolled().await? < u64::from(count) {
            ensure!(!arriving.is_finished() && began.elapsed() < PATIENCE, "the fleet does not enrol: {}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let enrolled_s = began.elapsed().as_secs_f64();
        let fleet = arriving.await??;
        let per_minute = f64::from(count) / enrolled_s * 60.0;
        let arrival = Arrival { agents: count, enrolled_s, per_minute, greeted_s: began.elapsed().as_secs_f64() };
        Ok((Agents { fleet, _end: guard }, arrival))
    }

    async fn enrolled(&self) -> Result<u64> {
        let (stream, filter) = (kv::stream("agents"), kv::subject("agents", "enrolled.*"));
        let subjects = self.bus.list(&stream, &filter).await?;
        let sets = self.bus.get_many(&stream, &subjects).await?;
        let sizes = sets.iter().filter_map(|set| set.body.as_ref()).map(|body| Numbers::decode(body).map(|s| s.len()));
        sizes.sum::<Result<u64, String>>().map_err(anyhow::Error::msg)
    }

    /// Submits a task by the front door, and gives its id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit(&self, kind: &str, task: &Value) -> Result<String> {
        let answer = self.client.request(format!("task.submit.{kind}"), task.to_string().into()).await;
        let answer: Value = serde_json::from_slice(&answer.with_context(|| self.logs())?.payload)?;
        match answer["id"].as_str() {
            Some(id) => Ok(id.to_owned()),
            None => bail!("{kind} is refused: {answer}"),
        }
    }

    /// Waits for a task's end: when it was seen, and the summary.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ended(&self, task: &str) -> Result<(Instant, Summary)> {
        self.watch.ended(task, PATIENCE).await.with_context(|| self.logs())
    }

    /// Whether it has ended.
    pub fn has_ended(&self, task: &str) -> bool {
        self.watch.look(task).is_some()
    }

    /// Waits until nothing happens any more, at most `patience`; false when it went on.
    ///
    /// # Errors
    /// When a process has ended.
    pub async fn rest(&self, patience: Duration) -> Result<bool> {
        let began = Instant::now();
        while began.elapsed() < patience {
            let before: Duration = self.cpu()?.values().sum();
            tokio::time::sleep(LOOK).await;
            if self.cpu()?.values().sum::<Duration>() < before + REST {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn processes(&self) -> Result<impl Iterator<Item = (&'static str, u32)>> {
        let broker = self.server.process_id().context("the server is not a process of this machine")?;
        let parts = self.parts.iter().map(|(name, process)| (*name, process.id()));
        Ok([("broker", broker), ("fleet", std::process::id())].into_iter().chain(parts))
    }

    /// Processor time so far, by process.
    ///
    /// # Errors
    /// When a process has ended.
    pub fn cpu(&self) -> Result<Cpu> {
        self.processes()?.map(|(name, pid)| Ok((name.to_owned(), os::cpu(pid)?))).collect()
    }

    /// The most memory used so far in bytes, by process.
    ///
    /// # Errors
    /// When a process has ended.
    pub fn peak_memory(&self) -> Result<BTreeMap<String, u64>> {
        self.processes()?.map(|(name, pid)| Ok((name.to_owned(), os::peak_memory(pid)?))).collect()
    }

    /// The bytes of the server's files.
    pub fn disk(&self) -> u64 {
        self.server.store().map_or(0, os::disk)
    }

    /// The last that the parts have said, for an error's message.
    fn logs(&self) -> String {
        let last = |log: String| log.lines().rev().take(3).map(str::to_owned).collect::<Vec<_>>().join(" | ");
        let said = self.parts.iter().map(|(name, process)| (name, last(process.log())));
        said.filter(|(_, log)| !log.is_empty()).map(|(name, log)| format!("{name}: {log}; ")).collect()
    }
}

/// The `muster` program that was built into the same target directory with the same profile: beside this program, or a
/// folder above this test.
pub(crate) fn program() -> Result<Command> {
    let this = std::env::current_exe()?;
    let folders = this.ancestors().skip(1).take(2);
    let found: Option<PathBuf> = folders.map(|folder| folder.join("muster")).find(|program| program.is_file());
    let found = found.context("the program `muster` is not there: build it first, with the same profile")?;
    Ok(Command::new(found))
}
