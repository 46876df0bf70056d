//! The edge command of the simulation's own function: agents run something. It stands for every type whose commands
//! count each time.

use muster_core::function::{AgentView, Function, Reads};
use muster_core::plan::{Decision, Plan};
use muster_core::problem::{Refusal, refuse};
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Runs something on agents.
pub struct Run;

/// Nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Args {}

impl Function for Run {
    const TYPE: TaskType = TaskType::ActiveResponseExecution;
    const SERIAL: bool = false;
    const SCHEMA: &'static str = r#"{ "type": "object", "required": ["target", "args"] }"#;
    type Args = Args;

    fn plan(task: &Task<Args>, _reads: &Reads) -> Result<Plan, Refusal> {
        match task.target.clone() {
            Some(select) => Ok(Plan::edge("run-active-response", select, json!({}))),
            None => refuse("schema", "/target", "a target is required"),
        }
    }

    fn decide(_task: &Task<Args>, _plan: &Plan, _agent: &AgentView) -> Decision {
        Decision::Run
    }
}
