//! JSON Schema 2020-12: the contract's files under `schemas/`, compiled into the programs.

use std::sync::LazyLock;

use jsonschema::{Draft, Registry};
use serde_json::Value;

use crate::problem::Problem;

/// At most this many problems are named for one document.
const MAX_PROBLEMS: usize = 20;

/// What other schemas refer to.
const COMMON: &str = include_str!("../../../schemas/task.json");

static REGISTRY: LazyLock<Result<Registry<'static>, String>> = LazyLock::new(|| {
    let common: Value = serde_json::from_str(COMMON).map_err(|e| e.to_string())?;
    let id = common["$id"].as_str().unwrap_or_default().to_owned();
    Registry::new().add(id, common).map_err(|e| e.to_string())?.prepare().map_err(|e| e.to_string())
});

/// A compiled schema.
pub struct Schema(jsonschema::Validator);

impl Schema {
    /// Compiles the text of a schema; it may refer to `schemas/task.json` by its `$id`.
    ///
    /// # Errors
    /// When the text is no JSON Schema, or refers to one that is not known.
    pub fn compile(text: &str) -> Result<Self, String> {
        let document: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let registry = REGISTRY.as_ref().map_err(Clone::clone)?;
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_registry(registry)
            .offline()
            .should_validate_formats(true)
            .build(&document)
            .map(Self)
            .map_err(|e| e.to_string())
    }

    /// The problems of a document, at most 20, in the order of the schema; none when it is valid.
    pub fn problems(&self, document: &Value) -> Vec<Problem> {
        self.0.iter_errors(document).take(MAX_PROBLEMS).map(|e| problem(&e)).collect()
    }
}

fn problem(error: &jsonschema::ValidationError<'_>) -> Problem {
    let mut message = error.to_string();
    if message.len() > 300 {
        // A message quotes the value, which is as long as its author liked.
        let cut = (0..=300).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(cut);
        message.push_str("...");
    }
    Problem::new("schema", error.instance_path().to_string(), message)
}
