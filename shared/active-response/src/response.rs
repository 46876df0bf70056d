//! The configuration of one active response: `schemas/active-response.json` is the contract.

use std::sync::LazyLock;
use std::time::Duration;

use muster_core::configuration::yaml;
use muster_core::problem::Problem;
use muster_core::schema::Schema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alert::Alert;

/// The largest text of a response, in bytes.
pub const MAX_RESPONSE: usize = 64 * 1024;
/// All extra arguments together, in bytes of JSON: the message must fit in one line.
const MAX_ARGUMENTS: usize = 8 * 1024;

static SCHEMA: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| Schema::compile(include_str!("../../../schemas/active-response.json")));

/// An active response that the schema allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Body", into = "Body")]
pub struct Response {
    name: String,
    description: String,
    enabled: bool,
    executable: String,
    extra_arguments: Vec<String>,
    kind: Kind,
    location: Location,
    needs: Vec<String>,
    keys: Vec<String>,
}

/// Whether a response is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is, after so long.
    Stateful(Duration),
    /// It is not.
    Stateless,
}

/// Where a response runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// On the agent that the alert comes from ([`Alert::agent_id`]).
    Local,
    /// On this agent.
    DefinedAgent(String),
    /// On the agents of this group.
    Group(String),
    /// On all agents.
    All,
}

impl Response {
    /// Reads the stored body of a response: YAML of the strict subset that `muster_core::configuration::yaml` reads, and
    /// so JSON too.
    ///
    /// # Errors
    /// At most 20 problems with the JSON pointer into the body and the line: it is longer than [`MAX_RESPONSE`], or its
    /// extra arguments than 8 KiB (code `too-large`), is no YAML of the subset (`yaml`), or the schema does not allow
    /// it (`schema`); unknown fields are not allowed.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        if text.len() > MAX_RESPONSE {
            let message = format!("{} bytes; at most {MAX_RESPONSE} are allowed", text.len());
            return Err(vec![Problem::new("too-large", "", message)]);
        }
        let Some(node) = yaml::read(text).map_err(|problem| vec![problem])? else {
            return Err(vec![Problem::new("schema", "", "an active response is expected, and nothing is there")]);
        };
        Self::checked(node.value()).map_err(|problems| {
            let with_line = |problem: Problem| {
                let line = node.line(&problem.pointer);
                problem.line(line)
            };
            problems.into_iter().map(with_line).collect()
        })
    }

    fn checked(value: Value) -> Result<Self, Vec<Problem>> {
        // What belongs to another location is said in words before the schema says it in its own.
        let stray = [("agent_id", "defined-agent"), ("group", "group")].into_iter().find(|(field, location)| {
            value.get(field).is_some() && value["location"].is_string() && value["location"] != **location
        });
        if let Some((field, location)) = stray {
            let message = format!("'{field}' has a meaning only with the location '{location}'");
            return Err(vec![Problem::new("schema", format!("/{field}"), message)]);
        }
        let problems = match SCHEMA.as_ref() {
            Ok(schema) => schema.problems(&value),
            Err(error) => vec![Problem::new("internal", "", error)],
        };
        if !problems.is_empty() {
            return Err(problems.into_iter().map(hinted).collect());
        }
        let arguments = value["extra_arguments"].to_string().len();
        if arguments > MAX_ARGUMENTS {
            let message = format!("{arguments} bytes together; at most {MAX_ARGUMENTS} are allowed");
            return Err(vec![Problem::new("too-large", "/extra_arguments", message)]);
        }
        serde_json::from_value(value).map_err(|error| vec![Problem::new("schema", "", error.to_string())])
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may be run.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The name of its file in `active-response/bin`.
    pub fn executable(&self) -> &str {
        &self.executable
    }

    /// What its program is given besides the alert.
    pub fn extra_arguments(&self) -> &[String] {
        &self.extra_arguments
    }

    /// Whether it is undone.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it runs.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Whether the alert has all that this response needs.
    ///
    /// # Errors
    /// A problem (code `missing-field`) for each field that is not there, with the pointer into the alert.
    pub fn check(&self, alert: &Alert) -> Result<(), Vec<Problem>> {
        let mut missing: Vec<Problem> = Vec::new();
        for path in self.needs.iter().chain(&self.keys).filter(|path| alert.field(path).is_none()) {
            let pointer = format!("/{}", path.replace('.', "/"));
            if missing.iter().all(|problem| problem.pointer != pointer) {
                let message = format!("the alert has no '{path}', which the active response '{}' needs", self.name);
                missing.push(Problem::new("missing-field", pointer, message));
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// What the configured `keys` are in this alert; `None` when none are configured, or one is missing.
    pub(crate) fn keys_in(&self, alert: &Alert) -> Option<Vec<String>> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let keys: Option<Vec<_>> = self.keys.iter().map(|path| alert.field(path).map(text)).collect();
        keys.filter(|keys| !keys.is_empty())
    }
}

fn hinted(problem: Problem) -> Problem {
    match problem.pointer.as_str() {
        "/extra_arguments" => {
            problem.hint("a list of texts, each one argument; there is no shell that would split one")
        }
        "/executable" => problem.hint("the bare name of a file in active-response/bin"),
        _ => problem,
    }
}

/// The response as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(default = "yes")]
    enabled: bool,
    executable: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extra_arguments: Vec<String>,
    #[serde(rename = "type")]
    kind: BodyKind,
    #[serde(default = "three_minutes")]
    stateful_timeout: u64,
    location: Place,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    needs: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BodyKind {
    Stateful,
    Stateless,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    Local,
    DefinedAgent,
    Group,
    All,
}

fn yes() -> bool {
    true
}

/// Wazuh 5.0's default for `stateful_timeout`.
fn three_minutes() -> u64 {
    180
}

impl TryFrom<Body> for Response {
    type Error = &'static str;

    fn try_from(body: Body) -> Result<Self, Self::Error> {
        let location = match (body.location, body.agent_id, body.group) {
            (Place::Local, ..) => Location::Local,
            (Place::All, ..) => Location::All,
            (Place::DefinedAgent, Some(agent), _) => Location::DefinedAgent(agent),
            (Place::Group, _, Some(group)) => Location::Group(group),
            (Place::DefinedAgent, None, _) => return Err("the location 'defined-agent' needs an agent_id"),
            (Place::Group, _, None) => return Err("the location 'group' needs a group"),
        };
        Ok(Self {
            name: body.name,
            description: body.description,
            enabled: body.enabled,
            executable: body.executable,
            extra_arguments: body.extra_arguments,
            kind: match body.kind {
                BodyKind::Stateful => Kind::Stateful(Duration::from_secs(body.stateful_timeout)),
                BodyKind::Stateless => Kind::Stateless,
            },
            location,
            needs: body.needs,
            keys: body.keys,
        })
    }
}

impl From<Response> for Body {
    fn from(response: Response) -> Self {
        let (kind, stateful_timeout) = match response.kind {
            Kind::Stateful(lasts) => (BodyKind::Stateful, lasts.as_secs()),
            Kind::Stateless => (BodyKind::Stateless, three_minutes()),
        };
        let (location, agent_id, group) = match response.location {
            Location::Local => (Place::Local, None, None),
            Location::DefinedAgent(agent) => (Place::DefinedAgent, Some(agent), None),
            Location::Group(group) => (Place::Group, None, Some(group)),
            Location::All => (Place::All, None, None),
        };
        Self {
            name: response.name,
            description: response.description,
            enabled: response.enabled,
            executable: response.executable,
            extra_arguments: response.extra_arguments,
            kind,
            stateful_timeout,
            location,
            agent_id,
            group,
            needs: response.needs,
            keys: response.keys,
        }
    }
}

#[cfg(test)]
mod tests;
