//! A function: the code of one task type. Pure: no I/O, no clock, no randomness.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lane::Lane;
use crate::plan::{Decision, Plan};
use crate::problem::{Problem, Refusal};
use crate::record::{Agent, Content, Group, Reported};
use crate::task::{Task, TaskType};

/// The code of one task type: a decision for the whole and one for each recipient.
pub trait Function: Send + Sync + 'static {
    /// The type: the token of the subject, the name of crate and schema.
    const TYPE: TaskType;
    /// Whether its tasks act one at a time in their order: so it is for every function that changes records.
    const SERIAL: bool = true;
    /// Whether [`Function::decide`] looks at what agents have reported of themselves. That is advice: it may be older
    /// than the truth, and is not checked when the decision is stored.
    const LOOKS_AT_REPORTS: bool = false;
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
    fn decide(task: &Task<Self::Args>, plan: &Plan, agent: &AgentView) -> Decision;
}

/// A recipient as a decision sees it; what is said of it as an [`Agent`] is its desired state.
#[derive(Debug, Clone, Copy)]
pub struct AgentView<'a> {
    /// Its desired state.
    pub desired: &'a Agent,
    /// What it last said of itself; nothing unless the function looks at that.
    pub reported: &'a Reported,
}

impl std::ops::Deref for AgentView<'_> {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        self.desired
    }
}

/// A key that a plan looks at. Agents, groups, names and the index are checked when the plan is stored: it stands only if
/// they have not changed. Bodies never change; what nodes run with, packages and documents are advice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An agent's record.
    Agent(String),
    /// A group.
    Group(String),
    /// Who has a name.
    Name(String),
    /// A content that belongs to no group, with its body: `active-response=<name>`.
    Index(Lane),
    /// The body of this lane with this digest.
    Body(Lane, String),
    /// A content of the server nodes, with its body, whoever the task's recipients are: it is found where [`Key::Index`]
    /// is.
    OfNodes(Lane),
    /// The body of this lane with this digest, a [`Manifest`](crate::sca::Manifest), and all bodies that it names.
    Manifest(Lane, String),
    /// The packages that the server nodes hold.
    Packages,
    /// All documents of a bucket, at most 10,000.
    Documents(String),
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
    /// Contents that belong to no group, or to the server nodes.
    #[serde(default)]
    pub index: BTreeMap<Lane, Indexed>,
    /// Bodies by digest.
    #[serde(default)]
    pub bodies: BTreeMap<String, String>,
    /// The bodies of packages by the packages' names.
    #[serde(default)]
    pub packages: BTreeMap<String, String>,
    /// The documents of a bucket.
    #[serde(default)]
    pub documents: Documents,
}

/// A content that belongs to no group, or to the server nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Indexed {
    /// The pointer.
    pub pointer: Content,
    /// The body that it points to, if it points to one.
    #[serde(default)]
    pub body: Option<String>,
}

/// All documents of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    /// The revision of the newest change, be it a removal.
    pub revision: u64,
    /// The values as texts, by key.
    #[serde(default)]
    pub documents: BTreeMap<String, String>,
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
    fn decide(&self, plan: &Plan, agent: &AgentView) -> Decision;
    /// See [`Function::LOOKS_AT_REPORTS`].
    fn looks_at_reports(&self) -> bool;
}

struct BoundTask<F: Function>(Task<F::Args>);

impl<F: Function> Bound for BoundTask<F> {
    fn reads(&self) -> Vec<Key> {
        F::reads(&self.0)
    }

    fn plan(&self, reads: &Reads) -> Result<Plan, Refusal> {
        F::plan(&self.0, reads)
    }

    fn decide(&self, plan: &Plan, agent: &AgentView) -> Decision {
        F::decide(&self.0, plan, agent)
    }

    fn looks_at_reports(&self) -> bool {
        F::LOOKS_AT_REPORTS
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
