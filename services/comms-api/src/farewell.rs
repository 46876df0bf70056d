//! The end of a deleted agent: it is told, its connection is cut, what waited for it is `gone`, and then the task is told.
//! Its message stays until all of that is done, so whoever dies in between, another gateway does it again.

use muster_broker::{Fault, Write, encode};
use muster_core::fact::Fact;
use muster_core::message::{Command, CommandResult, Outcome, Report, ReportStatus};
use muster_core::numbers::Numbers;
use muster_core::record::agent_number;

use crate::findings;
use crate::gateway::Gateway;

const RESULTS: &str = "RESULTS";

/// Sees a deleted agent off. The agent was told before, if it was there.
///
/// # Errors
/// When it is not surely done: it must be done again.
pub async fn see_off(gateway: &Gateway, command: &Command) -> Result<(), Fault> {
    let id = &command.target.id;
    let number = agent_number(id).ok_or_else(|| Fault::Refused(format!("there is no agent '{id}'")))?;
    let cut_off = gateway.cut_off().ok_or_else(|| Fault::Unavailable("this gateway cuts nobody off".into()))?;
    if !cut_off.is_gone(number).await {
        return Err(Fault::Unavailable("the gateway is shutting down".into()));
    }
    forget_commands(gateway, id, number, &command.request_id).await?;
    findings::forget(&gateway.context.bus, id).await?;
    let result = CommandResult {
        request_id: command.request_id.clone(),
        status: ReportStatus::Success,
        lane: None,
        version: None,
        result: Outcome { message: "no connection of it stands".into(), ..Outcome::default() },
    };
    gateway.results.store(id, number, Report { ledger: String::new(), results: vec![result] }).await?;
    // Not by and by, as other messages that have ended: nobody syncs any more for whom it would be tried again.
    gateway.context.bus.purge("RUNS", &format!("commands.agent.{id}.run.{}", command.request_id)).await
}

/// Purges what waits for the agent; tasks of edge commands learn that it is gone. (Those of level commands have learned
/// it from the page that deleted it.)
async fn forget_commands(gateway: &Gateway, id: &str, number: u32, task: &str) -> Result<(), Fault> {
    let bus = &gateway.context.bus;
    let runs = bus.list("RUNS", &format!("commands.agent.{id}.run.*")).await?;
    let others = runs.iter().filter_map(|subject| subject.rsplit_once('.')).map(|(_, of)| of).filter(|of| *of != task);
    let fact = encode(&Fact::Gone { numbers: Numbers::from_iter([number]) })?;
    let told: Vec<Write> = others.map(|of| Write::new(format!("facts.{of}"), fact.clone())).collect();
    if !told.is_empty() {
        bus.publish(RESULTS, told).await?;
    }
    let levels = bus.list("COMMANDS", &format!("commands.agent.{id}.set.*")).await?;
    for subject in &levels {
        bus.purge("COMMANDS", subject).await?;
    }
    let own = format!(".{task}");
    for subject in runs.iter().filter(|subject| !subject.ends_with(&own)) {
        bus.purge("RUNS", subject).await?;
    }
    Ok(())
}
