//! A world from its beginning to its end: it is built, everything happens that its seed says, then nothing goes wrong any
//! more, and it must come to rest in a state that is right.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use muster_broker::{Broker, Fault, Write, kv};
use muster_comms_api::{Asks, Request};
use muster_core::message::{CommandResult, Outcome, Report, ReportStatus};
use muster_core::summary::{Stop, StopKind, Summary};
use muster_core::task::TaskType;
use muster_runtime::steps::{Context, StopOutcome};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::agent::Agent;
use crate::bus::Bus;
use crate::chance::Chance;
use crate::check;
use crate::net::Net;
use crate::process::{Process, ProcessClock};
use crate::roles::{FUNCTIONS, Processes, Role};
use crate::sabotage::Sabotage;
use crate::settings::{Kind, Settings};

/// For so long things are asked for and go wrong, in milliseconds.
const STORM: u64 = 45_000;
/// After that every task ends within this time; no task of a world may wait longer.
const REST: Duration = Duration::from_secs(30 * 60);
/// The groups of a world.
const GROUPS: [&str; 3] = ["red", "green", "blue"];

/// The active response of a world.
const RESPONSE: &str = "block";

/// A task as it was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Its id.
    pub id: String,
    /// The type's name.
    pub kind: String,
    /// The document.
    pub document: Value,
    /// Whether the server has confirmed that it is stored.
    pub stored: bool,
}

/// A world.
pub struct World {
    /// What all share.
    pub net: Arc<Net>,
    /// Its agents.
    pub agents: Mutex<Vec<Agent>>,
    /// What was asked for.
    pub published: Mutex<Vec<Published>>,
    chance: Chance,
    processes: Processes,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Lives the world of these settings.
    ///
    /// # Errors
    /// When it could not even be built.
    pub async fn live(settings: Settings, sabotage: Option<Sabotage>) -> Result<Arc<Self>, Fault> {
        let net = Net::new(settings, sabotage)?;
        if sabotage == Some(Sabotage::Order) {
            for kind in FUNCTIONS.into_iter().filter(|kind| *kind != TaskType::ActiveResponseExecution) {
                let consumer = json!({
                    "durable_name": kind.name(), "filter_subject": format!("tasks.{kind}"), "deliver_policy": "all",
                    "ack_policy": "explicit", "ack_wait": 30_000_000_000_u64, "max_deliver": -1,
                    "max_ack_pending": 1000, "max_waiting": 512, "replay_policy": "instant",
                });
                net.broker.add_consumer("TASKS", &consumer)?;
            }
        }
        let world = Arc::new(Self {
            chance: Chance::of(net.settings.seed, "world"),
            net,
            agents: Mutex::default(),
            published: Mutex::default(),
            processes: Processes::default(),
        });
        world.clone().happens().await;
        Ok(world)
    }

    async fn happens(self: Arc<Self>) {
        let net = &self.net;
        net.note("world", || format!("{:?}", net.settings));
        for copy in 0..net.settings.copies {
            for role in [Role::TaskManager, Role::Gateway, Role::Collector] {
                self.processes.keep(net, role, copy);
            }
            for kind in FUNCTIONS.into_iter().filter(|kind| Some(*kind) != net.settings.absent) {
                self.processes.keep(net, Role::Function(kind), copy);
            }
        }
        for _ in 0..net.settings.agents {
            self.enrol();
        }
        let story = self.story();
        futures::future::join_all(story).await;
        net.calm();
        net.note("world", || "nothing goes wrong any more".into());
        self.rest().await;
        check::all(&self).await;
    }

    fn enrol(&self) {
        let mut agents = lock(&self.agents);
        let agent = Agent::new(&self.net, agents.len() as u64);
        agents.push(agent.clone());
        tokio::spawn(agent.live());
    }

    /// What happens, each at its time.
    fn story(self: &Arc<Self>) -> Vec<tokio::task::JoinHandle<()>> {
        let settings = &self.net.settings;
        let mut story = Vec::new();
        let mut at = |low: u64, high: u64, what: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let wait = self.chance.span(low, high);
            story.push(tokio::spawn(async move {
                sleep(wait).await;
                what.await;
            }));
        };
        // Groups come first, mostly.
        for (n, group) in GROUPS.iter().enumerate() {
            let document = json!({ "id": format!("make-{group}"), "target": { "type": "group", "id": group },
                "args": { "content": content(0), "create": true }, "deliver_until": "600s" });
            at(0, 2000 + 3000 * n as u64, Box::pin(self.clone().publish("group-configuration", document)));
        }
        let document = json!({ "id": "make-response", "target": { "type": "group", "id": "default" },
            "args": { "operation": "put", "name": RESPONSE, "content": response(1) }, "deliver_until": "600s" });
        at(0, 3000, Box::pin(self.clone().publish("active-response-configuration", document)));
        for n in 0..settings.tasks {
            at(3000, 3000 + settings.within, Box::pin(self.clone().task(n)));
        }
        let few = |on: bool, most: u64| if on { 1 + self.chance.below(most) } else { 0 };
        for _ in 0..few(settings.cancels, 3) {
            at(3000, 5000 + settings.within, Box::pin(self.clone().cancel()));
        }
        for _ in 0..few(settings.repeats, 3) {
            at(5000, STORM, Box::pin(self.clone().repeat()));
        }
        if settings.restored {
            at(6000, 12_000, Box::pin(self.clone().restored()));
        }
        for _ in 0..few(settings.enrolments && !settings.restored, 2) {
            let world = self.clone();
            at(2000, STORM - 5000, Box::pin(async move { world.enrol() }));
        }
        for _ in 0..few(settings.offline, 4) {
            at(2000, STORM, Box::pin(self.clone().goes_offline()));
        }
        for _ in 0..few(settings.liar, 3) {
            at(4000, STORM, Box::pin(self.clone().lies()));
        }
        for _ in 0..few(settings.restarts, 2) {
            let (net, away) = (self.net.clone(), self.chance.span(100, 4000));
            at(1000, STORM, Box::pin(async move { net.restart_server(away).await }));
        }
        for _ in 0..few(settings.stops, 3) {
            let (processes, chance) = (self.processes.clone(), self.chance.clone());
            let stop = async move {
                if let Some(process) = chance.pick(&processes.living()) {
                    process.stop(chance.span(1000, 50_000));
                }
            };
            at(1000, STORM, Box::pin(stop));
        }
        for _ in 0..few(settings.crashes > 0, 4) {
            let (processes, chance) = (self.processes.clone(), self.chance.clone());
            let kill = async move {
                if let Some(process) = chance.pick(&processes.living()) {
                    process.kill();
                }
            };
            at(1000, STORM, Box::pin(kill));
        }
        story
    }

    /// A client of the broker, which lives on.
    fn client(&self, name: &str) -> Arc<Process> {
        Process::client(&self.net, &format!("{name}-{}", self.chance.below(1_000_000)))
    }

    /// Publishes until the server confirms it; the id makes the repetitions one task.
    async fn publish(self: Arc<Self>, kind: &'static str, document: Value) {
        let id = document["id"].as_str().unwrap_or_default().to_owned();
        let task = Published { id: id.clone(), kind: kind.into(), document: document.clone(), stored: false };
        lock(&self.published).push(task);
        let bus = Bus(self.client("client"));
        let body = Bytes::from(document.to_string());
        self.net.note("client", || format!("publishes {kind} {body:?}"));
        loop {
            let epoch = self.net.epoch();
            let stored = bus.commit("TASKS", vec![Write::new(format!("tasks.{kind}"), body.clone())]).await;
            // What was stored in another history is asked for again.
            if stored.is_ok() && epoch == self.net.epoch() {
                break;
            }
            sleep(self.chance.span(100, 1000)).await;
        }
        for task in lock(&self.published).iter_mut().filter(|task| task.id == id && task.document == document) {
            task.stored = true;
        }
    }

    fn ids(&self) -> Vec<String> {
        lock(&self.agents).iter().filter_map(Agent::id).collect()
    }

    /// Some task.
    async fn task(self: Arc<Self>, n: u64) {
        let chance = &self.chance;
        let Some(kind) = chance.pick(&self.net.settings.kinds).copied() else { return };
        let ids = self.ids();
        let (Some(id), Some(group)) = (chance.pick(&ids), chance.pick(&GROUPS)) else { return };
        let target = match chance.below(4) {
            0 => json!({ "type": "all" }),
            1 => json!({ "type": "group", "id": chance.pick(&[GROUPS[0], GROUPS[1], "default"]) }),
            2 => json!({ "type": "agent", "id": id }),
            _ => json!({ "type": "agent", "id": ids }),
        };
        let groups: Vec<&str> = GROUPS.into_iter().filter(|_| chance.hits(5000)).collect();
        let groups = if groups.is_empty() { vec![*group] } else { groups };
        let of = |operation: &str| json!({ "operation": operation, "groups": groups });
        let (kind, target, args) = match kind {
            Kind::Assign => ("group-assignment", target, of("assign")),
            Kind::Unassign => ("group-assignment", target, of("unassign")),
            Kind::Replace => ("group-assignment", target, of("replace")),
            Kind::DeleteGroup => (
                "group-assignment",
                json!({ "type": "group", "id": group }),
                json!({ "operation": "delete-group", "group": group }),
            ),
            Kind::Configure => {
                let group = if chance.hits(3000) { "default" } else { group };
                let args = json!({ "content": content(1 + n), "create": chance.hits(5000) });
                ("group-configuration", json!({ "type": "group", "id": group }), args)
            }
            Kind::Rename => {
                let args = json!({ "name": format!("name-{}", chance.below(3)) });
                ("agent-name", json!({ "type": "agent", "id": id }), args)
            }
            Kind::Respond => {
                let group = if chance.hits(6000) { "default" } else { group };
                let args = match chance.hits(7500) {
                    true => json!({ "operation": "put", "name": RESPONSE, "content": response(2 + n) }),
                    false => json!({ "operation": "delete", "name": RESPONSE }),
                };
                ("active-response-configuration", json!({ "type": "group", "id": group }), args)
            }
            Kind::Run => ("active-response-execution", target, json!({ "name": RESPONSE })),
            Kind::Delete => ("agent-deletion", json!({ "type": "agent", "id": id }), json!({})),
        };
        let until = if chance.hits(3000) { chance.span(5000, 30_000) } else { chance.span(600_000, 700_000) };
        let document = json!({
            "id": format!("task-{n}"), "target": target, "args": args,
            "timeout": 5 + chance.below(60), "deliver_until": format!("{}s", until.as_secs()),
        });
        self.publish(kind, document).await;
    }

    fn some_task(&self) -> Option<Published> {
        self.chance.pick(&lock(&self.published)).cloned()
    }

    /// Cancels a task, until it is confirmed or known to be too late.
    async fn cancel(self: Arc<Self>) {
        let Some(task) = self.some_task() else { return };
        let context = self.context("cancel");
        let stop = Stop { kind: StopKind::Cancelled, reason: String::new(), user: None };
        self.net.note("client", || format!("cancels {}", task.id));
        let epoch = self.net.epoch();
        loop {
            match muster_task_manager::stop(&context, &task.id, &stop).await {
                Ok(StopOutcome::Stopped) if epoch != self.net.epoch() => return,
                Ok(StopOutcome::Stopped) => {
                    self.net.monitor.confirmed(&task.id);
                    return self.net.note("client", || format!("the cancel of {} is confirmed", task.id));
                }
                Ok(StopOutcome::Ended(_)) => return,
                Ok(StopOutcome::Unknown) if epoch != self.net.epoch() => return,
                Ok(StopOutcome::Unknown) | Err(_) => sleep(self.chance.span(100, 2000)).await,
            }
        }
    }

    /// Publishes a task once more, as it was or as another one.
    async fn repeat(self: Arc<Self>) {
        let Some(task) = self.some_task() else { return };
        let mut document = task.document.clone();
        if self.chance.hits(4000) {
            document["source"] = "another".into();
        }
        let kind = FUNCTIONS.iter().map(|kind| kind.name()).find(|kind| *kind == task.kind);
        if let Some(kind) = kind {
            self.publish(kind, document).await;
        }
    }

    /// The server is restored from a backup, as an operator does it: all is stopped, the epoch rises, numbers skip ahead,
    /// open tasks are stopped. What was asked for since the backup is lost, and nobody waits for it.
    async fn restored(self: Arc<Self>) {
        while lock(&self.agents).iter().any(|agent| agent.id().is_none()) {
            sleep(Duration::from_secs(1)).await;
        }
        let backup = self.net.broker.backup();
        self.net.note("operator", || "makes a backup".into());
        sleep(self.chance.span(1000, 20_000)).await;
        self.net.restart_server(Duration::from_millis(500)).await;
        self.processes.living().iter().for_each(|process| process.kill());
        self.net.broker.restore(backup);
        let epoch = self.net.next_epoch();
        self.net.note("operator", || format!("restores it; the epoch is {epoch}"));
        let write = |key: &str, value: String| Write::new(kv::subject("agents", key), value);
        let skipped = vec![write("epoch", epoch.to_string()), write("numbers", json!({ "next": 65_536 }).to_string())];
        let broker = &self.net.broker;
        if broker.commit("KV_agents", skipped).await.is_err() {
            return self.net.violation("the backup cannot be restored".into());
        }
        let there: Vec<Bytes> = broker.messages("TASKS").into_iter().filter_map(|message| message.body).collect();
        lock(&self.published).retain(|task| !task.stored || there.contains(&Bytes::from(task.document.to_string())));
        let context = self.context("operator");
        let stop = Stop { kind: StopKind::Restored, reason: "restored".into(), user: None };
        for task in self.summaries().await.into_iter().filter(|task| !task.state.is_end()) {
            while muster_task_manager::stop(&context, &task.id, &stop).await.is_err() {
                sleep(Duration::from_millis(500)).await;
            }
        }
    }

    fn context(&self, name: &str) -> Context {
        let process = self.client(name);
        Context { bus: Arc::new(Bus(process.clone())), clock: Arc::new(ProcessClock(process)) }
    }

    async fn goes_offline(self: Arc<Self>) {
        let agent = self.chance.pick(&lock(&self.agents)).cloned();
        if let Some(agent) = agent {
            agent.offline(Duration::ZERO).await;
        }
    }

    /// An agent reports the success of a task, whether or not it concerns it, and whatever it did.
    async fn lies(self: Arc<Self>) {
        let (Some(task), Some(id)) = (self.some_task(), self.chance.pick(&self.ids()).cloned()) else { return };
        // Only about what it is no recipient of: about itself it may lie.
        if self.net.is_recipient(&task.id, &id).await {
            return;
        }
        self.net.note("liar", || format!("agent {id} reports success of {}", task.id));
        let result = CommandResult {
            request_id: task.id,
            status: ReportStatus::Success,
            lane: None,
            version: None,
            result: Outcome::default(),
        };
        let report = Report { ledger: "liar".into(), results: vec![result] };
        let payload = serde_json::to_vec(&report).unwrap_or_default();
        self.net.ask(&self.chance, Request::Agent { id, asks: Asks::Result }, payload).await;
    }

    /// Waits until all tasks have ended and everybody has said everything.
    async fn rest(&self) {
        let began = self.net.elapsed();
        loop {
            sleep(Duration::from_secs(10)).await;
            let open = self.open().await;
            if open.is_empty() {
                break;
            }
            if self.net.elapsed() - began > REST {
                return self.net.violation(format!("does not come to rest: {}", open.join(", ")));
            }
        }
        self.net.note("world", || "all tasks have ended".into());
        // Time for the last syncs, and for what was reported late.
        sleep(Duration::from_secs(75)).await;
    }

    /// What is still to be done.
    async fn open(&self) -> Vec<String> {
        let mut open = Vec::new();
        let summaries = self.summaries().await;
        for task in lock(&self.published).iter().filter(|task| task.stored) {
            match summaries.iter().find(|summary| summary.id == task.id) {
                None => open.push(format!("{} has no summary", task.id)),
                Some(summary) if !summary.state.is_end() => {
                    open.push(format!("{} is {:?} {:?}", task.id, summary.state, summary.counts));
                }
                Some(_) => {}
            }
        }
        let running = FUNCTIONS.iter().filter(|kind| Some(**kind) != self.net.settings.absent);
        let consumers = running.map(|kind| ("TASKS", kind.name())).chain([("TASKS", "task-manager")]).chain([
            ("COMMANDS", "comms-api"),
            ("RUNS", "comms-api"),
            ("RESULTS", "result-collector"),
        ]);
        for (stream, consumer) in consumers {
            let count = self.net.broker.open(stream, consumer);
            if count > 0 {
                open.push(format!("{count} messages of {stream} for {consumer}"));
            }
        }
        for agent in lock(&self.agents).iter() {
            if agent.id().is_none() {
                open.push(format!("agent-{} is not enrolled", agent.index));
            }
        }
        open
    }

    /// All summaries.
    pub async fn summaries(&self) -> Vec<Summary> {
        let Ok(mut found) = self.net.broker.scan("KV_tasks", &kv::subject("tasks", "*")).await else {
            return Vec::new();
        };
        let mut out = Vec::new();
        while let Some(Ok(entry)) = found.next().await {
            out.extend(entry.body.and_then(|body| serde_json::from_slice(&body).ok()));
        }
        out
    }
}

fn content(n: u64) -> String {
    format!("active_response: {{repeated_offenders: [{}]}}\n", 1 + n)
}

fn response(minutes: u64) -> String {
    format!("name: {RESPONSE}\nexecutable: block\ntype: stateful\nstateful_timeout: {}\nlocation: all\n", 60 * minutes)
}
