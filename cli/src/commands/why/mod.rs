//! `muster why`: one clear answer about a task and an agent, from streams and buckets alone.

mod evidence;
mod gather;
mod lines;
mod unmatched;
mod verdict;

use clap::Args;
use muster_core::names::is_any_task_id;
use muster_core::problem::Problem;
use muster_core::record::agent_number;
use serde_json::json;

use self::verdict::verdict;
use crate::ask::{Refusal, control};
use crate::exit::Exit;
use crate::output::{Output, document, print, print_json};

/// Which task and which agent.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The task's id
    task: String,
    /// The agent's id
    agent: String,
}

/// Writes the answer, and below it what it rests on.
pub(crate) async fn why(output: Output, why: &Why) -> anyhow::Result<Exit> {
    if !is_any_task_id(&why.task) {
        return Err(Refusal::unknown_task(&why.task).into());
    }
    let Some(number) = agent_number(&why.agent) else {
        let problem = Problem::new("agent-id", "", format!("'{}' is no agent's id", why.agent));
        let problem = problem.hint("an id is a number of at least three digits, such as 007; see: muster agent list");
        return Err(Refusal { code: 400, problems: vec![problem] }.into());
    };
    let evidence = gather::gather(control().await?, &why.task, number).await?;
    let verdict = verdict(&evidence);
    let lines = lines::lines(&evidence);
    match output {
        Output::Table => {
            let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
            print(&document(&format!("{}\n\n{lines}", verdict.answer)))?;
        }
        Output::Json => print_json(&json!({
            "task": why.task,
            "agent": why.agent,
            "verdict": verdict.code,
            "answer": verdict.answer,
            "by": verdict.by,
            "evidence": lines,
        }))?,
    }
    Ok(Exit::Done)
}
