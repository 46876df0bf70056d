//! How soon a task to one agent starts there: on a system at rest, while a rollout runs, and when many such tasks come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::Client;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use muster_core::message::HandOver;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::os;
use crate::statistics::percentile;
use crate::system::{Agents, PATIENCE, System};
use crate::tasks::Kind;

/// So many agents take turns when one task follows the other.
const AGENTS: usize = 20;
/// Between a start and the next submission.
const PAUSE: Duration = Duration::from_millis(20);

/// From the submission to the start: when the command reaches the agent, which begins at once.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// So many tasks.
    pub tasks: usize,
    /// Milliseconds of half of them.
    pub p50_ms: f64,
    /// Of 99 of 100.
    pub p99_ms: f64,
    /// Of the slowest.
    pub most_ms: f64,
    /// The load average before.
    pub load: f64,
}

/// Many small tasks of one type at a steady rate.
#[derive(Debug, Clone, Serialize)]
pub struct Sustained {
    /// The type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Submitted so many a second, whether or not the ones before were done.
    pub per_second: u32,
    /// For so many seconds.
    pub seconds: u32,
    /// How soon they started.
    pub start: Latency,
    /// Submitted and not ended when the last one was submitted.
    pub backlog: usize,
    /// Seconds after the last submission until all had ended.
    pub drained_s: f64,
}

/// Sees commands as they reach some agents.
struct Starts {
    agents: Vec<String>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    at: Mutex<HashMap<String, Instant>>,
    news: Notify,
}

impl Starts {
    async fn watch(system: &System, agents: &Agents, count: usize) -> Result<Self> {
        let client: Client = system.server.agents("fleet").await?;
        let agents: Vec<String> = agents.fleet.ids().into_iter().take(count).collect();
        let seen = Arc::new(Seen::default());
        for agent in &agents {
            let mut pushes = client.subscribe(format!("agent.{agent}.command")).await?;
            let sees = seen.clone();
            tokio::spawn(async move {
                while let Some(push) = pushes.next().await {
                    let at = Instant::now();
                    let Ok(hand_over) = serde_json::from_slice::<HandOver>(&push.payload) else { continue };
                    let mut all = sees.at.lock().unwrap_or_else(PoisonError::into_inner);
                    for command in hand_over.commands {
                        all.entry(command.request_id).or_insert(at);
                    }
                    sees.news.notify_waiters();
                }
            });
        }
        // Any request waits until the server has made the subscriptions.
        let _ = client.request("agent.001.nobody", "".into()).await;
        Ok(Self { agents, seen })
    }

    async fn of(&self, task: &str) -> Result<Instant> {
        let seen = async {
            loop {
                let news = self.seen.news.notified();
                if let Some(at) = self.seen.at.lock().unwrap_or_else(PoisonError::into_inner).get(task) {
                    return *at;
                }
                news.await;
            }
        };
        timeout(PATIENCE, seen).await.with_context(|| format!("{task} did not start"))
    }

    /// Submits the `n`th task to the agent whose turn it is; gives the milliseconds until it started.
    async fn one(&self, system: &System, kind: Kind, id: String, n: usize, round: usize) -> Result<f64> {
        let agent = &self.agents[n % self.agents.len()];
        // Rounds change with each turn of an agent, so that there is always something to do.
        let task = kind.single(&id, agent, round + n / self.agents.len());
        let began = Instant::now();
        system.submit(kind.task_type().name(), &task).await?;
        Ok(self.of(&id).await?.saturating_duration_since(began).as_secs_f64() * 1000.0)
    }
}

/// Of so many active responses, one after the other, on a system at rest.
///
/// # Errors
/// When one does not start.
pub async fn idle(system: &System, agents: &Agents, tasks: usize) -> Result<Latency> {
    system.rest(Duration::from_secs(60)).await?;
    let (load, starts) = (os::load()?, Starts::watch(system, agents, AGENTS).await?);
    let mut all = Vec::with_capacity(tasks);
    for n in 0..tasks {
        all.push(starts.one(system, Kind::Response, format!("idle-{n}"), n, 0).await?);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(latency(&all, load))
}

/// Of so many active responses, one after the other, while a new configuration goes to all agents, again and again.
///
/// # Errors
/// When one does not start, or the rollout does not end.
pub async fn beside_rollout(system: &System, agents: &Agents, tasks: usize, round: usize) -> Result<Latency> {
    system.rest(Duration::from_secs(60)).await?;
    let (load, starts) = (os::load()?, Starts::watch(system, agents, AGENTS).await?);
    let mut all = Vec::with_capacity(tasks);
    for round in round.. {
        let rollout = format!("beside-{round}");
        system.submit("group-configuration", &Kind::Configuration.rollout(&rollout, round)).await?;
        while all.len() < tasks && !system.has_ended(&rollout) {
            let (n, id) = (all.len(), format!("beside-{round}-{}", all.len()));
            all.push(starts.one(system, Kind::Response, id, n, 0).await?);
            tokio::time::sleep(PAUSE).await;
        }
        let (_, summary) = system.ended(&rollout).await?;
        ensure!(summary.counts.success == summary.counts.total(), "{summary:?}");
        if all.len() >= tasks {
            break;
        }
    }
    Ok(latency(&all, load))
}

/// Tasks to one agent each at a steady rate. An agent has its turn again as late as can be; `round` is the first that
/// changes it.
///
/// # Errors
/// When one does not start or end.
pub async fn sustained(
    system: &System,
    agents: &Agents,
    kind: Kind,
    round: usize,
    (per_second, seconds): (u32, u32),
) -> Result<Sustained> {
    system.rest(Duration::from_secs(60)).await?;
    let count = (per_second * seconds) as usize;
    let (load, starts) = (os::load()?, Starts::watch(system, agents, count).await?);
    let (starts, name) = (&starts, kind.task_type().name());
    let ids: Vec<String> = (0..count).map(|n| format!("steady-{name}-{n}")).collect();
    let mut clock = interval(Duration::from_secs(1) / per_second);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut open = stream::FuturesUnordered::new();
    let mut all = Vec::with_capacity(count);
    for (n, id) in ids.iter().enumerate() {
        // What has started meanwhile is taken in while the next tick is waited for.
        loop {
            tokio::select! {
                biased;
                _ = clock.tick() => break,
                Some(took) = open.next(), if !open.is_empty() => all.push(took?),
            }
        }
        open.push(starts.one(system, kind, id.clone(), n, round));
    }
    let last = Instant::now();
    let backlog = ids.iter().filter(|id| !system.has_ended(id)).count();
    all.extend(open.try_collect::<Vec<f64>>().await?);
    let mut ended = last;
    for id in &ids {
        ended = ended.max(system.ended(id).await?.0);
    }
    let drained_s = ended.duration_since(last).as_secs_f64();
    Ok(Sustained { kind: name, per_second, seconds, start: latency(&all, load), backlog, drained_s })
}

fn latency(all: &[f64], load: f64) -> Latency {
    let most_ms = all.iter().copied().fold(0.0, f64::max);
    Latency { tasks: all.len(), p50_ms: percentile(all, 0.5), p99_ms: percentile(all, 0.99), most_ms, load }
}
