//! Deletes agents. Their records become tombstones, so that neither id nor number is ever used again.

use muster_core::function::{AgentView, Function, Reads};
use muster_core::message::Action;
use muster_core::plan::{Decision, Plan};
use muster_core::problem::{Refusal, refuse};
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Deletes agents: name and groups are free of them, their connections are cut, their open commands end as `gone`. The
/// gateway reports `success` when no connection stands.
pub struct AgentDeletion;

/// Nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Args {}

impl Function for AgentDeletion {
    const TYPE: TaskType = TaskType::AgentDeletion;
    const SCHEMA: &'static str = include_str!("../../../schemas/agent-deletion.json");
    type Args = Args;

    fn plan(task: &Task<Args>, _reads: &Reads) -> Result<Plan, Refusal> {
        match task.target.clone() {
            Some(select) => Ok(Plan::edge(Action::DISCONNECT, select, json!({}))),
            None => refuse("schema", "/target", "a target is required"),
        }
    }

    fn decide(_task: &Task<Args>, _plan: &Plan, _agent: &AgentView) -> Decision {
        Decision::Delete
    }
}
