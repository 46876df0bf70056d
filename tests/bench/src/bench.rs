//! The bench: for each number of agents a system, a fleet and a server for the limit, and on them all measurements.

use std::time::Duration;

use anyhow::{Context as _, Result};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::newcomers::newcomers;
use crate::raw::{self, Cost, Limit, Raw, Spy};
use crate::report::{Latencies, Report, Run};
use crate::rollout::{Rollout, rollout};
use crate::system::{Agents, System};
use crate::tasks::{self, Kind};
use crate::{latency, os};

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The numbers of agents.
    pub agents: Vec<u32>,
    /// The types.
    pub kinds: Vec<Kind>,
    /// How often each rollout.
    pub repeat: usize,
    /// What is measured of single agents, the tasks with the largest fleet; none leaves it out.
    pub single: Option<Single>,
}

/// How much is measured of tasks to one agent, and of agents that come in one by one.
#[derive(Debug, Clone, Copy)]
pub struct Single {
    /// So many, one after the other.
    pub tasks: usize,
    /// So many a second at a steady rate.
    pub per_second: u32,
    /// For so many seconds.
    pub seconds: u32,
    /// So many agents come in over connections of their own.
    pub newcomers: u32,
}

/// Measures all of it. What goes on is said on standard error.
///
/// # Errors
/// When something does not work: a bench gives whole reports or none.
pub async fn bench(scope: &Scope) -> Result<Report> {
    let mut report = Report { repeat: scope.repeat, load: os::load()?, ..Report::default() };
    let largest = scope.agents.iter().max().copied();
    for &n in &scope.agents {
        let system = System::start().await?;
        let (agents, arrival) = system.agents(n).await?;
        eprintln!("{n} agents enrolled in {:.1} s, greeted in {:.1} s", arrival.enrolled_s, arrival.greeted_s);
        report.enrolments.push(arrival);
        tasks::prepare(&system).await?;
        let raw = Raw::start(n).await?;
        for &kind in &scope.kinds {
            let run = measure(&system, &agents, &raw, kind, n, scope.repeat).await?;
            eprintln!("{} x {n}: {:.3} s, limit {:.3} s, ratio {:.2}", run.kind, run.t_final_s, run.limit_s, run.ratio);
            let runs = if kind == Kind::ALL[0] { &mut report.runs } else { &mut report.other_types };
            runs.push(run);
        }
        drop(raw);
        if let Some(single) = scope.single.filter(|_| Some(n) == largest) {
            report.latency = Some(latencies(&system, &agents, single, scope.repeat + 1).await?);
        }
        report.peak_memory_bytes.insert(n, system.peak_memory()?);
    }
    if let Some(single) = scope.single {
        let found = newcomers(single.newcomers).await?;
        eprintln!("{} came in over own connections in {:.1} s", found.agents, found.seconds);
        report.newcomers = Some(found);
    }
    // By type, then by the number of agents: so tables and plot have them together.
    report.other_types.sort_by_key(|run| (run.kind, run.n));
    report.at = OffsetDateTime::now_utc().format(&Rfc3339)?;
    Ok(report)
}

/// Rounds of a rollout and of its limit, in turns, after one that warms up and shows the messages.
async fn measure(system: &System, agents: &Agents, raw: &Raw, kind: Kind, n: u32, repeat: usize) -> Result<Run> {
    let first = agents.fleet.ids().first().cloned().context("a fleet of nobody")?;
    let spy = Spy::start(system, kind).await?;
    rollout(system, agents, kind, 0).await?;
    let samples = spy.samples(system, &first).await?;
    let (mut pairs, mut costs): (Vec<(Rollout, Limit)>, Vec<Cost>) = Default::default();
    for round in 1..=repeat {
        let product = rollout(system, agents, kind, round).await?;
        system.rest(Duration::from_secs(60)).await?;
        let (limit, cost) = raw::limit(raw, kind, &samples).await?;
        pairs.push((product, limit));
        costs.push(cost);
    }
    Ok(Run::of(kind, n, samples.sizes(), &pairs, &costs, system.peak_memory()?))
}

async fn latencies(system: &System, agents: &Agents, single: Single, round: usize) -> Result<Latencies> {
    let idle = latency::idle(system, agents, single.tasks).await?;
    eprintln!("idle: p50 {:.1} ms, p99 {:.1} ms", idle.p50_ms, idle.p99_ms);
    let beside_rollout = latency::beside_rollout(system, agents, single.tasks, round).await?;
    eprintln!("beside a rollout: p50 {:.1} ms, p99 {:.1} ms", beside_rollout.p50_ms, beside_rollout.p99_ms);
    let mut sustained = Vec::new();
    for kind in [Kind::Response, Kind::Assignment] {
        let rate = (single.per_second, single.seconds);
        let found = latency::sustained(system, agents, kind, round, rate).await?;
        eprintln!("{}: {} a second: {:?}, backlog {}", found.kind, found.per_second, found.start, found.backlog);
        sustained.push(found);
    }
    Ok(Latencies { idle, beside_rollout, sustained })
}
