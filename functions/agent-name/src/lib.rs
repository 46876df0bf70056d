//! Renames an agent. The id, and with it the agent's history, stays.

use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::plan::{Change, Decision, Plan};
use muster_core::problem::{Problem, Refusal, refuse};
use muster_core::target::Target;
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Gives one agent another name, if nobody has that name.
pub struct AgentName;

/// The new name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Args {
    /// 2 to 128 of `[A-Za-z0-9._-]`, no leading dot.
    pub name: String,
}

impl Function for AgentName {
    const TYPE: TaskType = TaskType::AgentName;
    const SCHEMA: &'static str = include_str!("../../../schemas/agent-name.json");
    type Args = Args;

    fn reads(task: &Task<Args>) -> Vec<Key> {
        let agent = agent(task).map(|id| Key::Agent(id.to_owned()));
        agent.into_iter().chain([Key::Name(task.args.name.clone())]).collect()
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let Some(id) = agent(task) else { return refuse("wrong-target", "/target", "the target is one agent") };
        let name = &task.args.name;
        if let Some(other) = reads.names.get(name).filter(|other| *other != id) {
            let problem = Problem::new("name-taken", "/args/name", format!("agent {other} is called '{name}'"));
            return Err(vec![problem.hint("choose another name, or rename or delete that agent first")]);
        }
        let select = Target::Agents(vec![id.to_owned()]);
        let changes = vec![Change::Name { agent: id.to_owned(), name: name.clone() }];
        Ok(Plan { changes, ..Plan::level("set-name", Lane::of(Lane::NAME), select, json!({ "name": name })) })
    }

    fn decide(task: &Task<Args>, _plan: &Plan, agent: &AgentView) -> Decision {
        if agent.name == task.args.name {
            Decision::Skipped("unchanged".into())
        } else {
            Decision::Name(task.args.name.clone())
        }
    }
}

fn agent(task: &Task<Args>) -> Option<&str> {
    match &task.target {
        Some(Target::Agents(ids)) if ids.len() == 1 => ids.first().map(String::as_str),
        _ => None,
    }
}
