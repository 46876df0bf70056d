//! A function: the code of one task type. Pure: no I/O, no clock, no randomness.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::{Decision, Plan};
use crate::problem::{Problem, Refusal};
use crate::record::{Agent, Group};
use crate::task::{Task, TaskType};

/// The code of one task type: a decision for the whole and one for each recipient.
pub trait Function: Send + Sync + 'static {
    /// The type: the token of the subject, the name of crate and schema.
    const TYPE: TaskType;
    /// Whether its tasks act one at a time in their order: so it is for every function with a level lane.
    const SERIAL: bool = true;
    /// The JSON Schema of the whole task.
    const SCHEMA: &'static str;
    /// The arguments, after the schema has accepted them.
    type Args: Serialize + DeserializeOwned + Send + Sync;

    /// The keys that [`Function::plan`] looks at. Each is read, and written or checked in the plan's batch.
    fn reads(_task: &Task<Self::Args>) -> Vec<Key> {
        Vec::new()
    }

    /// What is to be done, or why the task is refused.
    ///
    /// # Errors
    /// The refusal: final, with the JSON pointer of each problem.
    fn plan(task: &Task<Self::Args>, reads: &Reads) -> Result<Plan, Refusal>;

    /// What is to be done about one recipient, given its desired state; it is enrolled and no newer task of the lane
    /// has changed it.
    fn decide(task: &Task<Self::Args>, plan: &Plan, agent: &Agent) -> Decision;
}

/// A key that a plan looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An agent's record.
    Agent(String),
    /// A group.
    Group(String),
    /// Who has a name.
    Name(String),
}

/// What was found at the declared keys; what is not there is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reads {
    /// Agents by id.
    #[serde(default)]
    pub agents: BTreeMap<String, Agent>,
    /// Groups by name.
    #[serde(default)]
    pub groups: BTreeMap<String, Group>,
    /// Ids of agents by name.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
}

impl Reads {
    /// A group that can have members.
    pub fn alive(&self, group: &str) -> Option<&Group> {
        self.groups.get(group).filter(|g| g.is_alive())
    }
}

/// A task bound to its function, with the types forgotten.
pub trait Bound: Send + Sync {
    /// See [`Function::reads`].
    fn reads(&self) -> Vec<Key>;
    /// See [`Function::plan`].
    ///
    /// # Errors
    /// The refusal.
    fn plan(&self, reads: &Reads) -> Result<Plan, Refusal>;
    /// See [`Function::decide`].
    fn decide(&self, plan: &Plan, agent: &Agent) -> Decision;
}

struct BoundTask<F: Function>(Task<F::Args>);

impl<F: Function> Bound for BoundTask<F> {
    fn reads(&self) -> Vec<Key> {
        F::reads(&self.0)
    }

    fn plan(&self, reads: &Reads) -> Result<Plan, Refusal> {
        F::plan(&self.0, reads)
    }

    fn decide(&self, plan: &Plan, agent: &Agent) -> Decision {
        F::decide(&self.0, plan, agent)
    }
}

/// Binds a task to its function.
///
/// # Errors
/// When the arguments do not have the function's form although the schema accepted them.
pub fn bind<F: Function>(task: &Task<Value>) -> Result<Box<dyn Bound>, Refusal> {
    match serde_json::from_value::<F::Args>(task.args.clone()) {
        Ok(args) => Ok(Box::new(BoundTask::<F>(task.with_args(args)))),
        Err(e) => Err(vec![Problem::new("schema", "/args", e.to_string())]),
    }
}
