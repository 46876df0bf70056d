//! What an agent remembers, and the changes it goes through. A ledger stores the changes; nothing else changes it.

use muster_core::lane::Lane;
use muster_core::message::{CommandResult, Outcome};
use muster_core::stamp::Stamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an agent remembers. Small sets are vectors: a virtual fleet holds a hundred thousand of these.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Made at random with the ledger; another one tells the gateway that the old ledger was lost.
    pub id: String,
    /// The highest epoch of the server that was heard of.
    pub epoch: u32,
    /// Edge commands below it that are not among `edges` never start.
    pub floor: Stamp,
    /// The groups that the agent shall be in, in the order of merging, whether or not they could be put in force.
    pub groups: Vec<String>,
    /// The lanes that were taken, failed ones too.
    pub lanes: Vec<Held>,
    /// What the agent runs with: the last state that was good.
    pub in_force: InForce,
    /// The edge commands that were started or done.
    pub edges: Vec<Edge>,
    /// The results that the gateway has not confirmed.
    pub results: Vec<Pending>,
}

/// A lane as it was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The lane.
    pub lane: Lane,
    /// Its version.
    pub version: Stamp,
    /// The task that set it; empty when none did.
    pub task: String,
    /// The digest of its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why it could not be put in force; `None` when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Box<Outcome>>,
    /// What shows that it is in force, as it was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<Value>>,
}

/// What a recipient runs with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The groups, in the order of merging.
    pub groups: Vec<String>,
    /// The groups that have a configuration, in that order, each with its digest.
    pub configurations: Vec<(String, String)>,
    /// The other lanes with a content in force, each with its digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<(Lane, String)>,
}

impl InForce {
    /// The digest of the group's configuration.
    pub fn digest(&self, group: &str) -> Option<&str> {
        self.configurations.iter().find(|(name, _)| name == group).map(|(_, digest)| digest.as_str())
    }
}

/// An edge command that was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// The task.
    pub task: String,
    /// The task's place among all tasks.
    pub order: Stamp,
    /// What came of it; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Box<Outcome>>,
    /// Whether the gateway has stored the result.
    #[serde(default)]
    pub confirmed: bool,
}

/// A result that is reported until it is confirmed.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The result.
    pub result: CommandResult,
    /// Whether it was sent as it is now. It is not stored: what was sent before a restart is sent again.
    pub sent: bool,
}

/// A change of the state: one row of the ledger, or its removal (`None`).
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A higher epoch was heard of.
    Epoch(u32),
    /// A higher floor was heard of.
    Floor(Stamp),
    /// The agent was given a list of groups.
    Groups(Vec<String>),
    /// A lane was taken or forgotten.
    Lane(Lane, Option<Held>),
    /// Another state is in force.
    InForce(InForce),
    /// An edge command was started or done, or its id is no longer needed.
    Edge(String, Option<Edge>),
    /// The task's result is to be reported, or was confirmed.
    Result(String, Option<CommandResult>),
}

impl State {
    /// The state of a new ledger.
    pub fn new(id: String) -> Self {
        Self { id, ..Self::default() }
    }

    /// The lane as it was taken.
    pub fn lane(&self, lane: &Lane) -> Option<&Held> {
        self.lanes.iter().find(|held| held.lane == *lane)
    }

    /// The edge command of this task.
    pub fn edge(&self, task: &str) -> Option<&Edge> {
        self.edges.iter().find(|edge| edge.task == task)
    }

    /// Makes the change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Epoch(epoch) => self.epoch = epoch,
            Change::Floor(floor) => self.floor = floor,
            Change::Groups(groups) => self.groups = groups,
            Change::Lane(lane, held) => put(&mut self.lanes, held, |held| held.lane == lane),
            Change::InForce(in_force) => self.in_force = in_force,
            Change::Edge(task, edge) => put(&mut self.edges, edge, |edge| edge.task == task),
            Change::Result(task, result) => {
                let pending = result.map(|result| Pending { result, sent: false });
                put(&mut self.results, pending, |pending| pending.result.request_id == task);
            }
        }
    }
}

/// Replaces the item that `is` names, adds it, or removes it.
fn put<T>(items: &mut Vec<T>, item: Option<T>, is: impl Fn(&T) -> bool) {
    let at = items.iter().position(is);
    match (at, item) {
        (Some(at), Some(item)) => items[at] = item,
        (None, Some(item)) => {
            // One at a time: most agents have two or three, and a vector that grows by itself takes four at once.
            items.reserve_exact(1);
            items.push(item);
        }
        (Some(at), None) => {
            items.remove(at);
            if items.is_empty() {
                items.shrink_to_fit();
            }
        }
        (None, None) => {}
    }
}
