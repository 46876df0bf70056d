//! What was found, before anything is concluded from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use roaring::RoaringBitmap;
use serde_json::Value;

use crate::account::Account;

/// Everything that the checks look at.
#[derive(Debug, Default)]
pub struct World {
    /// The tasks, by their ids.
    pub tasks: BTreeMap<String, Task>,
    /// What was reported and told about tasks, by their ids: from the stream RESULTS.
    pub reports: BTreeMap<String, Reports>,
    /// Agents: the bucket `agents`.
    pub agents: Index,
    /// Server nodes: the bucket `nodes`.
    pub nodes: Index,
    /// What agents say of themselves, by their numbers.
    pub accounts: BTreeMap<u32, Account>,
    /// The same of server nodes.
    pub node_accounts: BTreeMap<u32, Account>,
    /// The messages of RUNS: the agent's id and the task.
    pub runs: Vec<(String, String)>,
    /// The tasks with a deadline in SCHEDULE; `None` when that is not to be looked at.
    pub deadlines: Option<Vec<String>>,
    /// Subjects and reasons of what is in DEAD.
    pub dead: Vec<String>,
    /// What consumers have not done: the stream, the consumer, pending, delivered and not acknowledged.
    pub behind: Vec<(String, String, u64, u64)>,
    /// How many pages the tasks had whose cancel was confirmed, just after that.
    pub cancelled: BTreeMap<String, usize>,
    /// What was wrong already when it was read: no JSON, not valid against its schema.
    pub unreadable: Vec<Violation>,
    /// How many messages were validated against a schema.
    pub validated: u64,
}

/// A task: its message, its chain, its sets, its summary.
#[derive(Debug, Default, Clone)]
pub struct Task {
    /// The type, from the subject.
    pub kind: String,
    /// The places of its message in TASKS: several when a client was not told that it was stored and sent it again.
    pub places: Vec<u64>,
    /// Its message.
    pub body: Value,
    /// Its summary.
    pub summary: Option<Value>,
    /// `plan.<task>`.
    pub plan: Option<Value>,
    /// The head `recipients.<task>`.
    pub head: Option<Value>,
    /// The recipients in all containers.
    pub recipients: RoaringBitmap,
    /// `page.<task>.<n>`.
    pub pages: BTreeMap<u32, Value>,
    /// `stop.<task>`.
    pub stop: Option<Value>,
    /// The stored sets by fact: `success`, `superseded.<by>`, all containers together.
    pub sets: BTreeMap<String, RoaringBitmap>,
}

/// What the stream RESULTS holds about one task.
#[derive(Debug, Default, Clone)]
pub struct Reports {
    /// Who reported a start.
    pub started: RoaringBitmap,
    /// Who reported success.
    pub success: RoaringBitmap,
    /// Who reported a failure.
    pub failure: RoaringBitmap,
    /// Of whom it was told that a task superseded this one, by that task.
    pub superseded: BTreeMap<String, RoaringBitmap>,
    /// Of whom it was told that they are gone.
    pub gone: RoaringBitmap,
    /// Whether it was told that the task was stopped.
    pub stopped: bool,
}

/// The desired state of agents or of nodes.
#[derive(Debug, Default)]
pub struct Index {
    /// `id.<id>` by number.
    pub records: BTreeMap<u32, Value>,
    /// `gmeta.<group>`.
    pub groups: BTreeMap<String, Value>,
    /// `group.<group>.<container>`.
    pub members: BTreeMap<String, RoaringBitmap>,
    /// `enrolled.<container>`.
    pub enrolled: RoaringBitmap,
    /// `gone.<container>`.
    pub gone: RoaringBitmap,
    /// `name.<name>`: who has it.
    pub names: BTreeMap<String, String>,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The rule: a stable word.
    pub rule: &'static str,
    /// What it is about: a task, an agent, a subject.
    pub of: String,
    /// What was seen.
    pub seen: String,
}

impl Violation {
    pub(crate) fn new(rule: &'static str, of: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { rule, of: of.into(), seen: seen.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.of, self.seen)
    }
}

impl World {
    /// The index that the task's recipients are in.
    pub(crate) fn index_of(&self, task: &Task) -> &Index {
        if task.is_of_nodes() { &self.nodes } else { &self.agents }
    }

    /// The accounts of those that the task's recipients are among.
    pub(crate) fn accounts_of(&self, task: &Task) -> &BTreeMap<u32, Account> {
        if task.is_of_nodes() { &self.node_accounts } else { &self.accounts }
    }
}

/// The types whose recipients are server nodes: the design's section 7.
const OF_NODES: [&str; 5] = ["agent-package", "cve-content", "ruleset-update", "server-configuration", "rbac-change"];

impl Task {
    /// Whether its recipients are server nodes.
    pub(crate) fn is_of_nodes(&self) -> bool {
        OF_NODES.contains(&self.kind.as_str())
    }

    /// Whether each of its commands counts: its plan sets no lane.
    pub(crate) fn is_edge(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan["decision"] == "plan" && plan["lane"].is_null())
    }

    /// What was decided: `plan`, `refused`, `nothing`, `stop`; empty when nothing was.
    pub(crate) fn decision(&self) -> &str {
        self.plan.as_ref().and_then(|plan| plan["decision"].as_str()).unwrap_or_default()
    }

    /// The stored sets of a status, for all reasons together.
    pub(crate) fn set(&self, status: &str) -> RoaringBitmap {
        let of = |mark: &str| mark == status || mark.strip_prefix(status).is_some_and(|rest| rest.starts_with('.'));
        self.sets.iter().filter(|(mark, _)| of(mark)).fold(RoaringBitmap::new(), |all, (_, set)| all | set)
    }

    /// The statuses named in its sets that no status is.
    pub(crate) fn marks(&self) -> BTreeSet<&str> {
        self.sets.keys().map(|mark| mark.split('.').next().unwrap_or_default()).collect()
    }
}
