//! Tasks: what is asked for, as published and as a function sees it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fleet::Fleet;
use crate::instant::Instant;
use crate::names;
use crate::problem::{Problem, Refusal};
use crate::stamp::Stamp;
use crate::status::Status;
use crate::target::Target;

/// The largest payload of a task, in bytes: below the broker's 1 MiB so that a submission with headers fits.
pub const MAX_TASK: usize = 768 * 1024;
/// The longest `timeout`: a week, in seconds.
pub const MAX_TIMEOUT: u64 = 7 * 24 * 3600;
/// A command may wait this long for its agent unless the task says otherwise, and a year at most.
pub const DELIVER_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
const MAX_DELIVER_FOR: Duration = Duration::from_secs(366 * 24 * 3600);

macro_rules! task_types {
    ($($variant:ident $name:literal $doc:literal),* $(,)?) => {
        /// The type of a task: the last token of its subject, the name of its function's crate and of its schema.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum TaskType { $(#[doc = $doc] #[serde(rename = $name)] $variant),* }

        impl TaskType {
            /// All fifteen.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

task_types! {
    GroupAssignment "group-assignment" "Puts agents into groups or takes them out; deletes groups.",
    GroupConfiguration "group-configuration" "A new revision of a group's configuration.",
    AgentUpgrade "agent-upgrade" "Upgrades agents.",
    AgentPackage "agent-package" "Brings a package to the server nodes.",
    AgentName "agent-name" "Renames an agent.",
    ScaPolicy "sca-policy" "Changes an SCA policy of groups.",
    ScaContent "sca-content" "The content manager has updated SCA content.",
    VulnerabilityRescan "vulnerability-rescan" "Agents are matched with the vulnerability feed again.",
    CveContent "cve-content" "The content manager has updated CVE content.",
    ActiveResponseConfiguration "active-response-configuration" "Changes an active response of groups.",
    ActiveResponseExecution "active-response-execution" "Runs an active response.",
    RulesetUpdate "ruleset-update" "A new ruleset for the server nodes.",
    ServerConfiguration "server-configuration" "A new revision of the servers' configuration.",
    AgentDeletion "agent-deletion" "Deletes agents.",
    RbacChange "rbac-change" "Server nodes read roles and policies again.",
}

impl TaskType {
    /// Who its recipients are.
    pub const fn fleet(self) -> Fleet {
        match self {
            Self::AgentPackage
            | Self::CveContent
            | Self::RulesetUpdate
            | Self::ServerConfiguration
            | Self::RbacChange => Fleet::Nodes,
            _ => Fleet::Agents,
        }
    }

    /// How long a command may wait for its agent unless the task says otherwise: an active response is of use now or never.
    pub const fn deliver_for(self) -> Duration {
        match self {
            Self::ActiveResponseExecution => Duration::from_secs(300),
            _ => DELIVER_FOR,
        }
    }

    /// How long a started command may run unless the task says otherwise.
    pub const fn timeout(self) -> Duration {
        match self {
            Self::AgentUpgrade => Duration::from_secs(3600),
            _ => Duration::from_secs(600),
        }
    }
}

impl fmt::Display for TaskType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for TaskType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|t| t.name() == text).ok_or_else(|| format!("there is no task type '{text}'"))
    }
}

/// A task as it is published: the payload of a message on `tasks.<type>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The client's id, an idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whom it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// What the type needs.
    #[serde(default)]
    pub args: Value,
    /// Which system asks (`Users/Services`, `Engine`, `Content manager`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The version of the type's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many seconds a started command may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Until when a command may wait for its agent: a time, or a duration from the publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_until: Option<String>,
    /// That it repeats another task for some of its recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// That a task repeats another one: where the lane still carries that task its state is handed over again under a
/// higher version, elsewhere the recipient is skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The task that is repeated; it has the same type.
    pub of: String,
    /// For its recipients with these statuses; failure, timeout and expired when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<Status>,
}

/// A task as its function sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task<A = Value> {
    /// The client's id, or `t<epoch>-<place>`.
    pub id: String,
    /// What kind of task it is.
    #[serde(rename = "type")]
    pub kind: TaskType,
    /// Its place among all tasks.
    pub order: Stamp,
    /// Whom it concerns.
    pub target: Option<Target>,
    /// What the type needs.
    pub args: A,
    /// Which system asks.
    pub source: Option<String>,
    /// Who asks.
    pub user: Option<String>,
    /// How long a started command may run.
    pub timeout: Duration,
    /// When the server stored its message.
    pub published: Instant,
    /// Until when its commands may wait for their recipients.
    pub deliver_until: Instant,
    /// That it repeats another task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

impl Envelope {
    /// Reads a payload without a schema.
    ///
    /// # Errors
    /// When it is too large, no JSON, or not of this form.
    pub fn parse(payload: &[u8]) -> Result<(Self, Value), Refusal> {
        let document = parse_json(payload)?;
        let envelope = serde_json::from_value(document.clone())
            .map_err(|e| vec![Problem::new("schema", "", format!("not a task: {e}"))])?;
        Ok((envelope, document))
    }

    /// The task of this envelope, published at `published` with the place `order`.
    ///
    /// # Errors
    /// When `deliver_until` is neither a time nor a duration, lies before the publish or more than a year after it.
    pub fn task(self, kind: TaskType, id: String, order: Stamp, published: Instant) -> Result<Task, Refusal> {
        let deliver_until = deliver_until(kind, self.deliver_until.as_deref(), published)?;
        Ok(Task {
            id,
            kind,
            order,
            target: self.target,
            args: self.args,
            source: self.source,
            user: self.user,
            timeout: self.timeout.map_or(kind.timeout(), Duration::from_secs),
            published,
            deliver_until,
            retry: self.retry,
        })
    }
}

/// JSON within the size limit of a task.
///
/// # Errors
/// When it is too large or no JSON.
pub fn parse_json(payload: &[u8]) -> Result<Value, Refusal> {
    if payload.len() > MAX_TASK {
        let message = format!("a task has at most {MAX_TASK} bytes, this one has {}", payload.len());
        return Err(vec![Problem::new("too-large", "", message)]);
    }
    serde_json::from_slice(payload).map_err(|e| {
        vec![
            Problem::new("json", "", format!("not JSON: {e}"))
                .hint("the least task is {\"target\":{...},\"args\":{...}}"),
        ]
    })
}

/// The id that the client chose, if it may choose it.
pub fn client_id(document: &Value) -> Option<&str> {
    document["id"].as_str().filter(|id| names::is_task_id(id))
}

/// The id of a task without one: the place of its message.
pub fn place_id(order: Stamp) -> String {
    format!("t{order}")
}

fn deliver_until(kind: TaskType, text: Option<&str>, published: Instant) -> Result<Instant, Refusal> {
    let fault = |message: String| vec![Problem::new("deliver-until", "/deliver_until", message)];
    let until = match text {
        None => published.plus(kind.deliver_for()),
        Some(text) => match (crate::configuration::duration(text), Instant::parse(text)) {
            (Some(span), _) => published.plus(span),
            (None, Some(at)) => at,
            (None, None) => {
                return Err(fault(format!(
                    "'{text}' is neither a duration such as 90s, 12h, 30d nor a time of RFC 3339"
                )));
            }
        },
    };
    if until <= published {
        return Err(fault(format!("{until} is not after the publish at {published}")));
    }
    if until > published.plus(MAX_DELIVER_FOR) {
        return Err(fault(format!("{until} is more than a year after the publish")));
    }
    Ok(until)
}

impl<A> Task<A> {
    /// The same task with other arguments.
    pub fn with_args<B>(&self, args: B) -> Task<B> {
        Task {
            id: self.id.clone(),
            kind: self.kind,
            order: self.order,
            target: self.target.clone(),
            args,
            source: self.source.clone(),
            user: self.user.clone(),
            timeout: self.timeout,
            published: self.published,
            deliver_until: self.deliver_until,
            retry: self.retry.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const AT: &str = "2026-11-23T20:00:00Z";

    fn until(text: Option<&str>) -> Result<String, Refusal> {
        deliver_until(TaskType::GroupAssignment, text, Instant::parse(AT).unwrap()).map(|at| at.to_string())
    }

    #[test]
    fn a_deadline_is_always_finite() {
        assert_eq!(until(None).unwrap(), "2026-12-23T20:00:00Z");
        assert_eq!(until(Some("5m")).unwrap(), "2026-11-23T20:05:00Z");
        assert_eq!(until(Some("2026-11-24T00:00:00+01:00")).unwrap(), "2026-11-23T23:00:00Z");
        for bad in [AT, "never", "0s", "800d", ""] {
            assert_eq!(until(Some(bad)).unwrap_err()[0].pointer, "/deliver_until", "{bad}");
        }
    }

    #[test]
    fn the_least_task_is_a_whole_one() {
        let (envelope, _) = Envelope::parse(br#"{"target":{"type":"all"},"args":{}}"#).unwrap();
        let task = envelope.task(TaskType::GroupAssignment, "t0-1".into(), Stamp::new(0, 1), Instant(0)).unwrap();
        assert_eq!((task.timeout.as_secs(), task.target), (600, Some(Target::All)));
        assert!(Envelope::parse(br#"{"tarket":{"type":"all"}}"#).is_err());
        assert_eq!(Envelope::parse(&vec![b' '; MAX_TASK + 1]).unwrap_err()[0].code, "too-large");
    }
}
