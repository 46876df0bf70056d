//! What a function decides: the plan for the whole and a decision for each recipient. Both are plain data.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lane::Lane;
use crate::record::Life;
use crate::target::Target;

/// What is to be done because of a task. It says whom and never holds a list of the fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The name of the command, such as `set-group`.
    pub action: String,
    /// The lane that the commands set; none for edge commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<Lane>,
    /// Whom it concerns.
    pub select: Target,
    /// The arguments of the command that are the same for all, and what `decide` needs to know.
    #[serde(default)]
    pub args: Value,
    /// What changes with the plan itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// What changes after the last page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finish: Vec<Change>,
    /// What changes when the task is stopped before its last page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_stop: Vec<Change>,
    /// The newer task that has the last word about what this one would change: nothing is changed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    /// Contents to store before the plan, which points to them by digest.
    #[serde(default, skip)]
    pub bodies: Vec<Body>,
}

impl Plan {
    /// A plan that sets a level lane and changes nothing beside it.
    pub fn level(action: &str, lane: Lane, select: Target, args: Value) -> Self {
        Self { lane: Some(lane), ..Self::edge(action, select, args) }
    }

    /// A plan that sends edge commands and changes nothing beside them.
    pub fn edge(action: &str, select: Target, args: Value) -> Self {
        Self {
            action: action.into(),
            lane: None,
            select,
            args,
            changes: Vec::new(),
            finish: Vec::new(),
            on_stop: Vec::new(),
            superseded_by: None,
            bodies: Vec::new(),
        }
    }
}

/// A change of the index that belongs to no single recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A group points to another content; a group that is missing or deleted is made.
    Content {
        /// The group.
        group: String,
        /// Which of its contents: the lane without the group.
        content: Lane,
        /// The new body; none when it is removed, or has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// Its revision.
        revision: u64,
        /// Members must not have it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        disabled: bool,
    },
    /// The index points to another content that belongs to no group.
    Index {
        /// Which: `active-response=<name>`.
        content: Lane,
        /// The new body; none when it is removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// Its revision.
        revision: u64,
    },
    /// An agent's name belongs to it from now on, and the one it had is free.
    Name {
        /// The agent.
        agent: String,
        /// Its new name.
        name: String,
    },
    /// A group's life changes.
    Life {
        /// The group.
        group: String,
        /// What it becomes.
        life: Life,
    },
}

impl Change {
    /// The group that is changed.
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Content { group, .. } | Self::Life { group, .. } => Some(group),
            Self::Index { .. } | Self::Name { .. } => None,
        }
    }
}

/// A content to store as `<bucket>/<name>.<digest>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The bucket, such as `groups`.
    pub bucket: String,
    /// Whose content it is.
    pub name: String,
    /// The content.
    pub content: String,
}

impl Body {
    /// A content to store.
    pub fn new(bucket: &str, name: &str, content: String) -> Self {
        Self { bucket: bucket.into(), name: name.into(), content }
    }
}

/// What is decided about one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// There is nothing to do, and nothing is sent.
    Skipped(String),
    /// That task has overtaken this one here.
    Superseded(String),
    /// The agent is to be in exactly these groups.
    Groups(Vec<String>),
    /// The agent has this name from now on.
    Name(String),
    /// The plan's lane gets this state.
    Set {
        /// The body; none when what the lane held is to be removed, or the lane has no bodies.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// Its revision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
    },
    /// The agent is deleted: its record becomes a tombstone, its name is free, it is in no group.
    Delete,
    /// What the lane holds is handed over again, under a higher version.
    Again,
    /// The edge command is sent.
    Run,
}
