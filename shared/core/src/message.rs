//! Messages between functions, the gateway and the agents. The vocabulary is that of Wazuh's command manager
//! (`source`, `user`, `target`, `action`, `result`, `request_id`, `order_id`); `schemas/` holds the contract.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::instant::Instant;
use crate::lane::Lane;
use crate::problem::Problem;
use crate::record::Entry;
use crate::stamp::Stamp;

/// The largest message from an agent that is looked at, in bytes.
pub const MAX_REPORT: usize = 64 * 1024;
/// At most this much of a result's data is kept, in bytes of JSON.
pub const MAX_DATA: usize = 4 * 1024;
/// At most this many results in one report.
pub const MAX_RESULTS: usize = 512;
/// Bodies up to this much are attached to one message, in bytes; the agent asks for the rest.
pub const MAX_ATTACHED: usize = 768 * 1024;
/// The largest body, in bytes.
pub const MAX_BODY: usize = 512 * 1024;

/// What one recipient must do because of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The task.
    pub request_id: String,
    /// `<task>:<recipient>`.
    pub order_id: String,
    /// Which system asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whom it is for.
    pub target: Recipient,
    /// What to do.
    pub action: Action,
    /// The task's place among all tasks.
    pub order: Stamp,
    /// How many seconds it may run once started.
    pub timeout: u64,
    /// After this it is not handed over any more.
    pub deliver_until: Instant,
    /// The level lanes that it sets, with the state of each; empty for an edge command. A recipient takes each lane
    /// whose version is higher than its own and reports it for the task that the entry names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<Lane, Entry>,
}

/// Whom a command is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// `agent` or `server`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Such as `set-group`.
    pub name: String,
    /// What the action needs.
    #[serde(default)]
    pub args: Value,
    /// The version of the action's form.
    pub version: String,
}

impl Action {
    /// The edge command that tells an agent that it was deleted.
    pub const DISCONNECT: &str = "disconnect";
    /// The edge command that runs an active response.
    pub const RUN_ACTIVE_RESPONSE: &str = "run-active-response";
}

/// What the gateway hands to an agent: pushed on `agent.<id>.command`, and the answer to hello and sync.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HandOver {
    /// What to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
    /// The contents that the commands name, by digest, as far as they fit; the others are asked for one by one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bodies: BTreeMap<String, String>,
    /// Tasks whose results are stored: the agent need not report them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirmed: Vec<String>,
    /// In an answer: the agent's name in the desired state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In an answer: edge commands below it that the ledger does not hold never start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Stamp>,
    /// In an answer: the server's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// In an answer: there is more; sync again when this is done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// In an answer: the next sync is due after about so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_after: Option<u64>,
}

/// A new agent asks for an id: `enrol.<nkey>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// The name it would like to have.
    pub name: String,
    /// The version of its program.
    #[serde(default)]
    pub version: String,
    /// The system it runs on.
    #[serde(default)]
    pub os: String,
}

/// The answer to [`Enrol`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The agent's id, for ever.
    pub id: String,
    /// The name that it has.
    pub name: String,
}

/// What an agent says when it starts: `agent.<id>.hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The id of its ledger: another one means that the old ledger was lost.
    pub ledger: String,
    /// The version of its program.
    pub version: String,
    /// The system it runs on.
    pub os: String,
    /// The processor it runs on, such as `x86_64`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// Labels of its own.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The version that it has in each lane, failed ones too.
    #[serde(default)]
    pub lanes: BTreeMap<Lane, Stamp>,
    /// The digests in force, as its modules loaded them.
    #[serde(default)]
    pub digests: BTreeMap<Lane, String>,
}

/// What an agent asks at intervals: `agent.<id>.sync`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// The id of its ledger.
    pub ledger: String,
    /// The version that it has in each lane, failed ones too.
    #[serde(default)]
    pub lanes: BTreeMap<Lane, Stamp>,
    /// The digests in force, as its modules loaded them.
    #[serde(default)]
    pub digests: BTreeMap<Lane, String>,
}

/// What an agent reports: on `agent.<id>.result`, and as the answer to a push (without results it is a receipt).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The id of its ledger.
    pub ledger: String,
    /// What became of commands.
    #[serde(default)]
    pub results: Vec<CommandResult>,
}

/// What became of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandResult {
    /// The task.
    pub request_id: String,
    /// How far it is.
    pub status: ReportStatus,
    /// The lane that was set, for a level command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<Lane>,
    /// The version that was set, for a level command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Stamp>,
    /// What came of it.
    #[serde(default)]
    pub result: Outcome,
}

/// What an agent can say of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportStatus {
    /// It was started.
    InProgress,
    /// It was done.
    Success,
    /// It was not, or not rightly, done.
    #[serde(alias = "failed")]
    Failure,
}

/// What came of a command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// 0 for success.
    #[serde(default)]
    pub code: i32,
    /// In words, at most 1,024 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// More of it, at most 4 KiB of JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// The answer to a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Tasks whose results are stored; the others are to be reported again.
    pub confirmed: Vec<String>,
}

/// The answer to `agent.<id>.config.<group>` and `agent.<id>.content.<digest>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyAnswer {
    /// The SHA-256 of the content in hex.
    pub digest: String,
    /// The content's revision, counted in its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The content.
    pub content: String,
}

/// The answer to a request that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub errors: Vec<Problem>,
}
