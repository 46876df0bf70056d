//! The cases of a function: JSON files that are at once unit tests, examples of the schema and documentation.
//!
//! A case of `plan` is `{"title", "task", "reads", "plan" | "refused"}`; where it has a plan, `"agents"` may list
//! cases of `decide`: `{"title", "agent", "reported"?, "decision"}`. `task` is the payload as it is published, `refused` the list
//! of `{"code", "pointer"}` in order.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use muster_core::function::{AgentView, Function, Reads};
use muster_core::instant::Instant;
use muster_core::plan::{Decision, Plan};
use muster_core::record::{Agent, Reported};
use muster_core::stamp::Stamp;
use muster_core::task::{Envelope, place_id};
use serde::Deserialize;
use serde_json::Value;

use crate::Definition;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    title: String,
    task: Value,
    #[serde(default)]
    reads: Reads,
    plan: Option<Plan>,
    refused: Option<Vec<Refused>>,
    #[serde(default)]
    agents: Vec<AgentCase>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    code: String,
    pointer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentCase {
    title: String,
    agent: Agent,
    #[serde(default)]
    reported: Reported,
    decision: Decision,
}

/// Runs every case in a folder through schema, plan and decide.
///
/// # Errors
/// The first case that does not come out as its file says, with both sides; also when there are none.
pub fn run<F: Function>(folder: &Path) -> anyhow::Result<usize> {
    let definition = Definition::of::<F>()?;
    let mut files: Vec<_> =
        std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?.into_iter().map(|f| f.path()).collect();
    files.sort();
    ensure!(!files.is_empty(), "no cases in {}", folder.display());
    for file in &files {
        let text = std::fs::read_to_string(file)?;
        let case: Case = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        check::<F>(&definition, &case).with_context(|| format!("{}: {}", file.display(), case.title))?;
    }
    Ok(files.len())
}

fn check<F: Function>(definition: &Definition, case: &Case) -> anyhow::Result<()> {
    let order = Stamp::new(0, 100);
    let problems = definition.problems(&case.task);
    let planned = if problems.is_empty() {
        let envelope: Envelope = serde_json::from_value(case.task.clone())?;
        let id = envelope.id.clone().unwrap_or_else(|| place_id(order));
        match envelope.task(F::TYPE, id, order, Instant(0)) {
            Err(errors) => Err(errors),
            Ok(task) => {
                let args: F::Args = serde_json::from_value(task.args.clone())?;
                let task = task.with_args(args);
                F::plan(&task, &case.reads).map(|plan| (task, plan))
            }
        }
    } else {
        Err(problems)
    };
    let (task, plan) = match (planned, &case.refused) {
        (Err(errors), Some(expected)) => {
            let found: Vec<Refused> =
                errors.into_iter().map(|e| Refused { code: e.code, pointer: e.pointer }).collect();
            ensure!(found == *expected, "refused with {found:?} instead of {expected:?}");
            return Ok(());
        }
        (Err(errors), None) => bail!("refused: {errors:?}"),
        (Ok((_, plan)), Some(_)) => bail!("not refused but planned: {}", serde_json::to_string(&plan)?),
        (Ok(planned), None) => planned,
    };
    let expected = case.plan.as_ref().context("a case says 'plan' or 'refused'")?;
    let (found, expected) = (serde_json::to_value(&plan)?, serde_json::to_value(expected)?);
    ensure!(found == expected, "planned {found} instead of {expected}");
    for agent in &case.agents {
        let decision = F::decide(&task, &plan, &AgentView { desired: &agent.agent, reported: &agent.reported });
        ensure!(decision == agent.decision, "{}: decided {decision:?} instead of {:?}", agent.title, agent.decision);
    }
    Ok(())
}
