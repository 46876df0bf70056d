//! One task to all agents, from the submission to the final status.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use muster_broker::Broker as _;
use muster_core::fact::StoredResult;
use muster_core::message::ReportStatus;
use muster_core::numbers::Numbers;
use muster_core::record::agent_number;
use serde::Serialize;

use crate::os;
use crate::statistics::percentile;
use crate::system::{Agents, Cpu, System};
use crate::tasks::Kind;

/// How long what a task leaves behind may keep the system busy.
const CALM: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Rollout {
    /// Seconds from before the submission until the final status was seen.
    pub t_final_s: f64,
    /// Seconds from before the submission until the agent's result was stored, which is what "confirmed" tells the agent:
    /// half of the agents.
    pub confirmed_p50_s: f64,
    /// 99 of 100 agents.
    pub confirmed_p99_s: f64,
    /// Microseconds of processor time an agent, by process, until the system was at rest again.
    pub cpu_us_per_agent: BTreeMap<String, f64>,
    /// By how many bytes an agent the server's files grew.
    pub disk_bytes_per_agent: f64,
    /// Whether summary, stored results and the agents' own counts are the same: each agent once, with success.
    pub exact: bool,
    /// The load average before.
    pub load: f64,
}

/// Submits the task and waits for its end.
///
/// # Errors
/// When it is refused or does not end.
pub async fn rollout(system: &System, agents: &Agents, kind: Kind, round: usize) -> Result<Rollout> {
    let ids = agents.fleet.ids();
    system.rest(CALM).await?;
    let (load, disk, cpu) = (os::load()?, system.disk(), system.cpu()?);
    let id = format!("{}-{round}", kind.task_type().name());
    let task = kind.rollout(&id, round);
    let (began, at) = (Instant::now(), SystemTime::now());
    system.submit(kind.task_type().name(), &task).await?;
    let (ended, _) = system.ended(&id).await?;
    let t_final_s = ended.duration_since(began).as_secs_f64();
    system.rest(CALM).await?;
    let cpu_us_per_agent = each(&cpu, &system.cpu()?, ids.len());
    let grown = system.disk().saturating_sub(disk);
    // The system is at rest: what is read now belongs to no measurement.
    let (_, summary) = system.ended(&id).await?;
    let stored = stored(system, &id).await?;
    let begin = muster_core::instant::Instant::from_system(at);
    let confirmed: Vec<f64> = stored.iter().map(|(_, at)| at.since(begin).as_secs_f64()).collect();
    let reported: Numbers = stored.iter().map(|(number, _)| *number).collect();
    let own: Numbers = ids.iter().filter_map(|id| agent_number(id)).collect();
    let count = agents.fleet.counts().get(&id).copied().unwrap_or_default();
    let n = ids.len() as u64;
    let exact = [summary.counts.success, summary.counts.total(), count.executed, count.succeeded, stored.len() as u64];
    let exact = exact.iter().all(|found| *found == n) && reported == own;
    if !exact {
        eprintln!("NOT EXACT: {id}: {:?}, the agents did {count:?}, {} results", summary.counts, stored.len());
    }
    Ok(Rollout {
        t_final_s,
        confirmed_p50_s: percentile(&confirmed, 0.5),
        confirmed_p99_s: percentile(&confirmed, 0.99),
        cpu_us_per_agent,
        disk_bytes_per_agent: ratio(grown, ids.len()),
        exact,
        load,
    })
}

/// The numbers of those whose success is stored, with the time.
async fn stored(system: &System, task: &str) -> Result<Vec<(u32, muster_core::instant::Instant)>> {
    let mut entries = system.bus.scan("RESULTS", &format!("results.{task}.*")).await?;
    let mut found = Vec::new();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let body = entry.body.context("a result without a body")?;
        let result: StoredResult = serde_json::from_slice(&body)?;
        ensure!(result.status == ReportStatus::Success, "{}: {result:?}", entry.subject);
        found.push((result.number, entry.at));
    }
    Ok(found)
}

/// Microseconds an agent, by process.
pub(crate) fn each(before: &Cpu, after: &Cpu, agents: usize) -> BTreeMap<String, f64> {
    let spent = |name: &String, after: &Duration| after.saturating_sub(before.get(name).copied().unwrap_or_default());
    let micros = |spent: Duration| ratio(u64::try_from(spent.as_micros()).unwrap_or(u64::MAX), agents);
    after.iter().map(|(name, after)| (name.clone(), micros(spent(name, after)))).collect()
}

// Far below what a float holds.
#[allow(clippy::cast_precision_loss)]
fn ratio(sum: u64, of: usize) -> f64 {
    sum as f64 / of as f64
}
