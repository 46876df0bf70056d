//! The configuration of agents: YAML with the agent's sections, as a group holds it and as the agent merges it.
//!
//! `schemas/agent-configuration.json` is the contract. The text must be a strict subset of YAML (see [`parse`]), so that
//! every reader finds the same in it.

mod active_response;
mod check;
mod duration;
mod logcollector;
mod sca;
mod size;
pub mod yaml;

use serde::Serialize;
use serde_json::{Map, Value};

pub use self::duration::duration;
use self::duration::span;
pub use self::logcollector::Logcollector;
pub use self::sca::Sca;
pub use self::size::size;
use crate::problem::Problem;
use crate::schema::Schema;

/// The largest text of a configuration, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// A configuration that the schema allows. The default is the empty one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Configuration(Value);

impl Default for Configuration {
    fn default() -> Self {
        Self(Value::Object(Map::new()))
    }
}

/// Reads a configuration; an empty text is the empty configuration.
///
/// # Errors
/// The text is refused, with the JSON pointer into the content and the line of each of at most 20 problems, when it
/// is longer than [`MAX_BYTES`] (code `too-large`), when it is no YAML, has several documents, repeated keys, keys that
/// are no strings, anchors, aliases, tags, or more than 16 levels (`yaml`), or when the schema does not allow it
/// (`schema`).
pub fn parse(text: &str) -> Result<Configuration, Vec<Problem>> {
    if text.len() > MAX_BYTES {
        let message = format!("{} bytes; at most {MAX_BYTES} are allowed", text.len());
        return Err(vec![Problem::new("too-large", "", message)]);
    }
    Ok(checked(text, check::schema())?.map_or_else(Configuration::default, Configuration))
}

/// Reads YAML that a schema describes; nothing when the text is empty.
///
/// # Errors
/// As [`parse`], but for the limit of the length.
pub(crate) fn checked(text: &str, schema: Result<&Schema, String>) -> Result<Option<Value>, Vec<Problem>> {
    let Some(node) = yaml::read(text).map_err(|problem| vec![problem])? else { return Ok(None) };
    let value = node.value();
    let problems = check::problems(&node, &value, schema);
    if problems.is_empty() { Ok(Some(value)) } else { Err(problems) }
}

impl Configuration {
    /// The sections as JSON.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The configurations of groups in group order as one: maps are merged deeply, a later one wins, lists are
    /// replaced. What the schema allows stays so, for it constrains no two keys of a map together.
    pub fn merge(configurations: &[Self]) -> Self {
        let mut merged = Self::default();
        for configuration in configurations {
            merge_into(&mut merged.0, &configuration.0);
        }
        merged
    }

    /// What a section says of `enabled`; `None` when it says nothing.
    pub fn section_enabled(&self, section: &str) -> Option<bool> {
        self.0[section]["enabled"].as_bool()
    }
}

fn merge_into(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge_into(into.entry(key.as_str()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[cfg(test)]
mod tests;
