//! Reading the evidence. No service is asked, so it can be read when none runs.

use async_nats::Client;
use muster_broker::nats::NatsBroker;
use muster_broker::{Broker as _, Entry, decode, kv};
use muster_core::chain::{Frozen, Paged, Planned, Stored, key};
use muster_core::fact::StoredResult;
use muster_core::message::Command;
use muster_core::numbers::Numbers;
use muster_core::record::agent_id;
use muster_core::status::Mark;
use muster_core::summary::{Stop, Summary};
use muster_runtime::steps::AGENTS;
use serde::de::DeserializeOwned;

use super::evidence::{Decided, Evidence, Lying, on_page};
use crate::ask::Refusal;

/// The consumer of the gateways.
const GATEWAY: &str = "comms-api";

/// Reads all that is known about a task and the agent with this number.
///
/// # Errors
/// [`Refusal`] when there is no such task; when something cannot be read.
pub(super) async fn gather(client: Client, task: &str, number: u32) -> anyhow::Result<Evidence> {
    let bus = NatsBroker::new(client);
    let agent = agent_id(number);
    let summary: Option<Summary> = value(&bus, "tasks", task).await?;
    let summary = summary.ok_or_else(|| Refusal::unknown_task(task))?;
    let plan: Option<Stored<Planned>> = value(&bus, AGENTS, &key::plan(task)).await?;
    let frozen: Option<Stored<Frozen>> = value(&bus, AGENTS, &key::recipients(task)).await?;
    let stop: Option<Stored<Stop>> = value(&bus, AGENTS, &key::stop(task)).await?;
    let started = bus.get("RESULTS", &format!("starts.{task}.{agent}")).await?;
    let mut evidence = Evidence {
        record: value(&bus, AGENTS, &format!("id.{agent}")).await?,
        reported: value(&bus, "reported", &agent).await?,
        plan: plan.map(|stored| stored.decision),
        frozen: frozen.map(|stored| stored.decision),
        recipient: is_recipient(&bus, task, number).await?,
        decided: decided(&bus, task, number).await?,
        stop: stop.map(|stored| stored.decision),
        marks: marks(&bus, task, number).await?,
        started: started.map(|entry| entry.at),
        result: result(&bus, task, &agent).await?,
        command: None,
        summary,
        agent,
    };
    evidence.command = command(&bus, &evidence).await?;
    Ok(evidence)
}

/// The value of a key; none when there is none.
async fn value<T: DeserializeOwned>(bus: &NatsBroker, bucket: &str, key: &str) -> anyhow::Result<Option<T>> {
    let entry = bus.get(&kv::stream(bucket), &kv::subject(bucket, key)).await?;
    Ok(entry.and_then(|entry| entry.body).map(|body| decode(bucket, key, &body)).transpose()?)
}

async fn is_recipient(bus: &NatsBroker, task: &str, number: u32) -> anyhow::Result<bool> {
    let key = key::container(task, Numbers::container(number));
    let entry = bus.get(&kv::stream(AGENTS), &kv::subject(AGENTS, &key)).await?;
    entry.map_or(Ok(false), |entry| holds(&entry, number))
}

/// Whether a set holds the number.
fn holds(entry: &Entry, number: u32) -> anyhow::Result<bool> {
    let Some(body) = &entry.body else { return Ok(false) };
    let set = Numbers::decode(body).map_err(|why| anyhow::anyhow!("{}: {why}", entry.subject))?;
    Ok(set.contains(number))
}

/// The page that has decided about it.
async fn decided(bus: &NatsBroker, task: &str, number: u32) -> anyhow::Result<Option<(u32, Decided)>> {
    let filter = kv::subject(AGENTS, &format!("page.{task}.*"));
    let subjects = bus.list(&kv::stream(AGENTS), &filter).await?;
    for entry in bus.get_many(&kv::stream(AGENTS), &subjects).await? {
        let Some(body) = &entry.body else { continue };
        let page: Stored<Paged> = decode(AGENTS, &entry.subject, body)?;
        let n = entry.subject.rsplit_once('.').and_then(|(_, n)| n.parse().ok());
        if let (Paged::Page(page), Some(n)) = (page.decision, n)
            && let Some(decided) = on_page(&page, number)
        {
            return Ok(Some((n, decided)));
        }
    }
    Ok(None)
}

/// What the collector has stored of it.
async fn marks(bus: &NatsBroker, task: &str, number: u32) -> anyhow::Result<Vec<Mark>> {
    let subjects = bus.list(&kv::stream("sets"), &kv::subject("sets", &format!("{task}.>"))).await?;
    let container = Numbers::container(number);
    let mark = |subject: &str| Mark::parse(task, kv::key("sets", subject)?).filter(|(_, c)| *c == container);
    let subjects: Vec<String> = subjects.into_iter().filter(|subject| mark(subject).is_some()).collect();
    let mut out = Vec::new();
    for entry in bus.get_many(&kv::stream("sets"), &subjects).await? {
        if holds(&entry, number)? {
            out.extend(mark(&entry.subject).map(|(mark, _)| mark));
        }
    }
    out.sort();
    Ok(out)
}

/// The last that it reported at the end.
async fn result(
    bus: &NatsBroker,
    task: &str,
    agent: &str,
) -> anyhow::Result<Option<(StoredResult, muster_core::instant::Instant)>> {
    let subject = format!("results.{task}.{agent}");
    let Some(entry) = bus.get("RESULTS", &subject).await? else { return Ok(None) };
    let Some(body) = &entry.body else { return Ok(None) };
    Ok(Some((decode("RESULTS", &subject, body)?, entry.at)))
}

/// The agent's command in its stream, when it is of this task.
async fn command(bus: &NatsBroker, evidence: &Evidence) -> anyhow::Result<Option<Lying>> {
    let Some(plan) = evidence.plan() else { return Ok(None) };
    let (stream, token) = match &plan.lane {
        Some(lane) => ("COMMANDS", format!("set.{lane}")),
        None => ("RUNS", format!("run.{}", evidence.summary.id)),
    };
    let subject = format!("commands.agent.{}.{token}", evidence.agent);
    let Some(entry) = bus.get(stream, &subject).await? else { return Ok(None) };
    let Some(body) = &entry.body else { return Ok(None) };
    let command: Command = decode(stream, &subject, body)?;
    if command.request_id != evidence.summary.id {
        return Ok(None);
    }
    let taken = bus.acked_upto(stream, GATEWAY).await? >= entry.revision;
    Ok(Some(Lying { subject, at: entry.at, taken }))
}
