//! Step 5, publish: the page's commands, always the same set, never past `deliver_until`.

use std::collections::HashMap;

use muster_broker::{Fault, Write, decode, encode, kv};
use muster_core::chain::Page;
use muster_core::desired::command;
use muster_core::message::Command;
use muster_core::plan::Plan;
use muster_core::record::{Agent, agent_id};
use muster_telemetry::metrics;
use muster_telemetry::trace::{self, Origin};

use super::Job;
use super::changes::record_key;

/// The stream of level commands: a mailbox, the newest of a lane stays.
const COMMANDS: &str = "COMMANDS";
/// The stream of edge commands: each is stored once.
const RUNS: &str = "RUNS";

/// Publishes the commands of a page. `commands` are those that this copy has just decided; a page that was found in
/// the chain is rebuilt from the records. The task has so many `recipients`.
pub(super) async fn publish(
    job: &Job<'_>,
    plan: &Plan,
    recipients: u64,
    page: &Page,
    commands: Option<Vec<Command>>,
) -> Result<(), Fault> {
    let left = job.task.deliver_until.since(job.context.clock.now());
    if left.is_zero() || page.commanded.is_empty() {
        return Ok(());
    }
    let commands = match commands {
        Some(commands) => commands,
        None => rebuild(job, plan, page).await?,
    };
    let token = plan.lane.as_ref().map_or_else(|| format!("run.{}", job.task.id), |lane| format!("set.{lane}"));
    let stream = if plan.lane.is_some() { COMMANDS } else { RUNS };
    let store = async {
        let origin = Origin::for_recipients(recipients);
        let writes = commands.iter().map(|command| {
            let subject = format!("commands.{}.{}.{token}", command.target.kind, command.target.id);
            Ok(Write::new(subject, encode(command)?).ttl(left).origin(&origin))
        });
        let writes: Vec<Write> = writes.collect::<Result<_, Fault>>()?;
        if plan.lane.is_some() {
            return job.context.bus.publish(stream, writes).await;
        }
        // All in one batch, or "exists" would not mean that all of the page exist.
        match job.context.bus.commit(stream, writes).await {
            Ok(_) | Err(Fault::Exists) => Ok(()),
            Err(fault) => Err(fault),
        }
    };
    trace::publish(stream, commands.len(), store).await?;
    metrics::commands_published(job.task.kind.name(), commands.len());
    Ok(())
}

/// The commands of a page that an earlier delivery, or another copy, has decided. Where a newer task has set the lane
/// since, its command is the one that counts, and this one's must not take its place in the mailbox.
async fn rebuild(job: &Job<'_>, plan: &Plan, page: &Page) -> Result<Vec<Command>, Fault> {
    let bucket = job.fleet().bucket();
    let subjects: Vec<String> = page.commanded.iter().map(|n| kv::subject(bucket, &record_key(n))).collect();
    let mut records = HashMap::new();
    for entry in job.context.bus.get_many(&kv::stream(bucket), &subjects).await? {
        if let Some(body) = entry.body {
            let agent: Agent = decode(bucket, &entry.subject, &body)?;
            records.insert(agent.number, agent);
        }
    }
    let mine = |agent: &Agent| match &plan.lane {
        None => true,
        Some(lane) => agent.lanes.get(lane).is_some_and(|entry| entry.task == job.task.id),
    };
    Ok(page
        .commanded
        .iter()
        .filter_map(|n| records.get(&n))
        .filter(|agent| mine(agent))
        .map(|agent| command(job.task, plan, agent, &agent_id(agent.number)))
        .collect())
}
