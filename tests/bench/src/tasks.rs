//! The tasks that are measured: one whose command carries a content, one that moves agents, one that runs something.

use anyhow::{Result, ensure};
use muster_core::task::TaskType;
use serde_json::{Value, json};

use crate::system::System;

/// The group of every agent.
const ALL: &str = "default";
/// Groups between which agents move.
const GROUPS: [&str; 2] = ["blue", "green"];
/// The active response that every agent has.
const RESPONSE: &str = "block";

/// A type that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A new configuration for every agent: level, each record is rewritten, the content is attached.
    Configuration,
    /// Every agent moves from one group to another: level, each record is rewritten.
    Assignment,
    /// An active response on every agent: edge, no record is changed.
    Response,
}

impl Kind {
    /// All of them; the first is the one that the report's `runs` are about.
    pub const ALL: [Self; 3] = [Self::Configuration, Self::Assignment, Self::Response];

    /// The task type.
    pub const fn task_type(self) -> TaskType {
        match self {
            Self::Configuration => TaskType::GroupConfiguration,
            Self::Assignment => TaskType::GroupAssignment,
            Self::Response => TaskType::ActiveResponseExecution,
        }
    }

    /// Whether the function rewrites the record of each agent.
    pub const fn rewrites_records(self) -> bool {
        !matches!(self, Self::Response)
    }

    /// The stream of its commands.
    pub const fn stream(self) -> &'static str {
        if self.rewrites_records() { "COMMANDS" } else { "RUNS" }
    }

    /// What tells its commands from others in their subjects.
    pub const fn lane(self) -> &'static str {
        if self.rewrites_records() { "set" } else { "run" }
    }

    /// The task of the `round`th rollout to all agents; each round changes every agent.
    pub fn rollout(self, id: &str, round: usize) -> Value {
        let all = json!({ "type": "all" });
        match self {
            Self::Configuration => {
                json!({ "id": id, "target": { "type": "group", "id": ALL }, "args": { "content": configuration(round) } })
            }
            Self::Assignment => json!({ "id": id, "target": all, "args": moves(round) }),
            Self::Response => json!({ "id": id, "target": all, "args": run() }),
        }
    }

    /// A task for one agent. Rounds that differ by one change the agent.
    pub fn single(self, id: &str, agent: &str, round: usize) -> Value {
        let target = json!({ "type": "agent", "id": agent });
        match self {
            Self::Response => json!({ "id": id, "target": target, "args": run() }),
            Self::Configuration | Self::Assignment => json!({ "id": id, "target": target, "args": moves(round) }),
        }
    }
}

fn moves(round: usize) -> Value {
    json!({ "operation": "replace", "groups": [ALL, GROUPS[round % GROUPS.len()]] })
}

fn run() -> Value {
    json!({ "name": RESPONSE, "alert": { "id": "1700000000.1", "rule": { "id": "5712", "level": 10 },
        "data": { "srcip": "203.0.113.7" } } })
}

/// A configuration of some 700 bytes, another one in each round.
fn configuration(round: usize) -> String {
    let files: String = (0..16).map(|n| format!("    - /var/log/service-{n:02}/events.log\n")).collect();
    format!("events:\n  batch_interval: {}s\nlogcollector:\n  localfiles:\n{files}", 10 + round)
}

/// Makes the groups and the active response.
///
/// # Errors
/// When a task does not succeed.
pub async fn prepare(system: &System) -> Result<()> {
    for group in GROUPS {
        let task = json!({ "target": { "type": "group", "id": group },
            "args": { "content": configuration(0), "create": true } });
        succeed(system, "group-configuration", &task).await?;
    }
    let content = format!("name: {RESPONSE}\nexecutable: block\ntype: stateless\nlocation: all\n");
    let task = json!({ "target": { "type": "group", "id": ALL },
        "args": { "operation": "put", "name": RESPONSE, "content": content } });
    succeed(system, "active-response-configuration", &task).await
}

async fn succeed(system: &System, kind: &str, task: &Value) -> Result<()> {
    let id = system.submit(kind, task).await?;
    let (_, summary) = system.ended(&id).await?;
    ensure!(summary.state.name() == "succeeded", "{kind}: {summary:?}");
    Ok(())
}
