//! The document of a policy, in the forms of Wazuh 4.x and 5.x, checked against `policy.schema.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use muster_core::configuration::yaml::{self, Node};
use muster_core::problem::Problem;
use muster_core::schema::Schema;
use serde::Deserialize;
use serde_json::Value;

use super::{Condition, MAX_BYTES};
use crate::pattern::Dialect;

static SCHEMA: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| Schema::compile(include_str!("../../policy.schema.json")));

/// What is read of a document, and where it stands.
pub(super) struct Document {
    pub(super) content: Content,
    lines: Node,
}

#[derive(Deserialize)]
pub(super) struct Content {
    pub(super) policy: Header,
    pub(super) requirements: Option<Group>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, Value>,
    pub(super) checks: Vec<Check>,
}

#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) regex_type: Option<Dialect>,
}

/// Rules with their condition, in the requirements or a check.
#[derive(Deserialize)]
pub(super) struct Group {
    pub(super) condition: Condition,
    pub(super) rules: Vec<String>,
    pub(super) regex_type: Option<Dialect>,
}

#[derive(Deserialize)]
pub(super) struct Check {
    pub(super) id: u32,
    title: Option<String>,
    name: Option<String>,
    #[serde(flatten)]
    pub(super) group: Group,
}

impl Check {
    /// The title of 4.x, which 5.x calls its name.
    pub(super) fn title(&self) -> Option<&str> {
        self.title.as_deref().or(self.name.as_deref())
    }
}

impl Document {
    pub(super) fn read(text: &str) -> Result<Self, Vec<Problem>> {
        if text.len() > MAX_BYTES {
            let message = format!("{} bytes; at most {MAX_BYTES} are allowed", text.len());
            return Err(vec![Problem::new("too-large", "", message)]);
        }
        let Some(lines) = yaml::read(text).map_err(|problem| vec![problem])? else {
            return Err(vec![Problem::new("schema", "", "the text is empty")]);
        };
        let value = lines.value();
        let schema = SCHEMA.as_ref().map_err(|error| vec![Problem::new("internal", "", error)])?;
        let mut problems = schema.problems(&value);
        if problems.is_empty() {
            match serde_json::from_value(value) {
                Ok(content) => return Ok(Self { content, lines }),
                Err(error) => problems.push(Problem::new("schema", "", error.to_string())),
            }
        }
        let with_line = |problem: Problem| {
            let line = lines.line(&problem.pointer);
            problem.line(line)
        };
        Err(problems.into_iter().map(with_line).collect())
    }

    /// A problem at a place of the document.
    pub(super) fn problem(&self, code: &str, pointer: String, message: String) -> Problem {
        let line = self.lines.line(&pointer);
        Problem::new(code, pointer, message).line(line)
    }
}
