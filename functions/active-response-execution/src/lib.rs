//! Runs an active response, once on each agent that its location or the task's target names.

use muster_active_response::{Execution, Location, Response};
use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::message::Action;
use muster_core::plan::{Decision, Plan};
use muster_core::problem::{Problem, Refusal, refuse};
use muster_core::target::Target;
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Runs an active response for an alert.
pub struct ActiveResponseExecution;

/// Which, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Args {
    /// The response's name.
    pub name: String,
    /// The alert, as the engine made it.
    #[serde(default = "empty")]
    pub alert: Value,
}

fn empty() -> Value {
    json!({})
}

impl Args {
    fn lane(&self) -> Lane {
        Lane::item_of(Lane::ACTIVE_RESPONSE, &self.name)
    }
}

impl Function for ActiveResponseExecution {
    const TYPE: TaskType = TaskType::ActiveResponseExecution;
    const SERIAL: bool = false;
    const SCHEMA: &'static str = include_str!("../../../schemas/active-response-execution.json");
    type Args = Args;

    fn reads(task: &Task<Args>) -> Vec<Key> {
        vec![Key::Index(task.args.lane())]
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let args = json!(task.args);
        let execution = Execution::read(&args).map_err(|problem| vec![problem.under("/args")])?;
        let Some(body) = reads.index.get(&task.args.lane()).and_then(|indexed| indexed.body.as_deref()) else {
            let message = format!("there is no active response '{}'", execution.name);
            let problem = Problem::new("unknown-active-response", "/args/name", message);
            return Err(vec![problem.hint("a task of type active-response-configuration puts one")]);
        };
        let response = Response::parse(body)?;
        if !response.is_enabled() {
            return refuse("disabled", "/args/name", format!("the active response '{}' is disabled", execution.name));
        }
        let select = match (&task.target, response.location()) {
            (Some(select), _) => select.clone(),
            (None, Location::Local) => match execution.alert.agent_id() {
                Some(id) => Target::Agents(vec![id.to_owned()]),
                None => {
                    let message = "it runs on the agent of the alert, and the alert names none";
                    let problem = Problem::new("missing-field", "/args/alert/agent/id", message);
                    return Err(vec![problem.hint("or say the task's target")]);
                }
            },
            (None, Location::DefinedAgent(id)) => Target::Agents(vec![id.clone()]),
            (None, Location::Group(group)) => Target::Groups(vec![group.clone()]),
            (None, Location::All) => Target::All,
        };
        Ok(Plan::edge(Action::RUN_ACTIVE_RESPONSE, select, args))
    }

    fn decide(task: &Task<Args>, _plan: &Plan, agent: &AgentView) -> Decision {
        let has = |lane: &Lane| lane.kind() == Lane::ACTIVE_RESPONSE && lane.name() == Some(&task.args.name);
        if agent.lanes.iter().any(|(lane, entry)| has(lane) && entry.digest.is_some()) {
            Decision::Run
        } else {
            Decision::Skipped(format!("none of its groups has the active response '{}'", task.args.name))
        }
    }
}
