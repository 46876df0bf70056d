//! The summary of a task: what everyone reads and watches at `tasks/<task>`.

use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;
use crate::instant::Instant;
use crate::problem::Problem;
use crate::stamp::Stamp;
use crate::status::{Counts, State};
use crate::target::Target;
use crate::task::{Task, TaskType};

/// The summary of a task. Whoever admits the task creates it; afterwards only the collector writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The task's id.
    pub id: String,
    /// Its type, as it was published; there may be no such type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it stands.
    pub state: State,
    /// How many recipients it has, once they are known.
    pub recipients: Option<u64>,
    /// How many of them have each status.
    pub counts: Counts,
    /// Its place among all tasks; the number is the place of its message in TASKS.
    pub order: Stamp,
    /// The SHA-256 of its type and payload.
    pub digest: String,
    /// Whom it concerns; left out when it names more than 16 ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Which system asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When the server stored its message.
    pub created: Instant,
    /// Until when its commands may wait for their recipients.
    pub deliver_until: Instant,
    /// How many seconds a started command may run.
    pub timeout: u64,
    /// When it ended; reports that come later amend the counts and not this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Instant>,
    /// Why there is nothing to do, when the plan said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Problem>,
    /// How it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// Why a task was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What kind of stop it is; it decides about the task's end.
    pub kind: StopKind,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What kind of stop it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopKind {
    /// Somebody cancelled the task.
    Cancelled,
    /// The function could not go on; the message is in DEAD.
    Parked,
    /// The server was restored from a backup.
    Restored,
    /// `deliver_until` has passed before everything was decided: the rest is `expired`.
    Expired,
}

impl Summary {
    /// The summary of a task that was just admitted.
    pub fn admitted(task: &Task, digest: String) -> Self {
        let short = |t: &Target| t.leaves("").iter().map(|(_, leaf)| leaf.names()).sum::<usize>() <= 16;
        Self {
            target: task.target.clone().filter(short),
            source: task.source.clone(),
            user: task.user.clone(),
            deliver_until: task.deliver_until,
            timeout: task.timeout.as_secs(),
            ..Self::unread(task.id.clone(), task.kind, task.order, digest, task.published)
        }
    }

    /// The summary of a message that cannot be read as a task.
    pub fn rejected(id: String, kind: &str, order: Stamp, digest: String, at: Instant, errors: Vec<Problem>) -> Self {
        Self {
            state: State::Rejected,
            recipients: Some(0),
            ended: Some(at),
            errors,
            ..Self::unread(id, kind, order, digest, at)
        }
    }

    fn unread(id: String, kind: impl ToString, order: Stamp, digest: String, at: Instant) -> Self {
        Self {
            id,
            kind: kind.to_string(),
            state: State::Pending,
            recipients: None,
            counts: Counts::default(),
            order,
            digest,
            target: None,
            source: None,
            user: None,
            created: at,
            deliver_until: at,
            timeout: 0,
            ended: None,
            message: None,
            errors: Vec::new(),
            stop: None,
        }
    }

    /// In whose bucket its chain lies; that of a type which does not exist lies with the agents.
    pub fn fleet(&self) -> Fleet {
        self.task_type().map_or(Fleet::Agents, TaskType::fleet)
    }

    /// The type, when there is such a type.
    pub fn task_type(&self) -> Option<TaskType> {
        self.kind.parse().ok()
    }
}
