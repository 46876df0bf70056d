//! JSON Schema 2020-12: the contract's files under `schemas/`, compiled into the programs.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, Registry, ValidationError};
use serde_json::Value;

use crate::problem::Problem;

/// At most this many problems are named for one document.
const MAX_PROBLEMS: usize = 20;

/// A message beyond this many bytes is given without the value, and cut when it is still longer.
const MAX_MESSAGE: usize = 300;
/// A pointer is cut beyond this many bytes: the keys in it are the author's.
const MAX_POINTER: usize = 300;

/// What other schemas refer to.
const COMMON: &[&str] = &[
    include_str!("../../../schemas/task.json"),
    include_str!("../../../schemas/types.json"),
    include_str!("../../../schemas/command.json"),
    include_str!("../../../schemas/package.json"),
    include_str!("../../../schemas/feed.json"),
    include_str!("../../../schemas/sca-manifest.json"),
];

static REGISTRY: LazyLock<Result<Registry<'static>, String>> = LazyLock::new(|| {
    let mut registry = Registry::new();
    for text in COMMON {
        let document: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let id = document["$id"].as_str().unwrap_or_default().to_owned();
        registry = registry.add(id, document).map_err(|e| e.to_string())?;
    }
    registry.prepare().map_err(|e| e.to_string())
});

/// A compiled schema.
pub struct Schema(jsonschema::Validator);

impl Schema {
    /// Compiles the text of a schema; it may refer to `task.json`, `types.json`, `command.json`, `package.json`, `feed.json`
    /// and `sca-manifest.json` beside it.
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

    /// Reads a document of at most `most` bytes of JSON that this schema allows. `schema` is the compiled one, or why it is none.
    ///
    /// # Errors
    /// The problems with the pointers into the document: `too-large`, `json`, or `schema`; `internal` without a schema.
    pub fn read(schema: &Result<Self, String>, document: &[u8], most: usize) -> Result<Value, Vec<Problem>> {
        let fault = |code: &str, message: String| vec![Problem::new(code, "", message)];
        if document.len() > most {
            return Err(fault("too-large", format!("{} bytes; at most {most} are allowed", document.len())));
        }
        let document: Value = serde_json::from_slice(document).map_err(|e| fault("json", e.to_string()))?;
        let problems = schema.as_ref().map_err(|e| fault("internal", e.clone()))?.problems(&document);
        if problems.is_empty() { Ok(document) } else { Err(problems) }
    }

    /// The problems of a document, at most 20 and each once, in the order of the schema; none when it is valid. An
    /// unknown field is a problem at that field. Messages and pointers have a bounded length whatever the document.
    pub fn problems(&self, document: &Value) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        for problem in self.0.iter_errors(document).flat_map(|e| each(&e)) {
            if problems.len() == MAX_PROBLEMS {
                break;
            }
            // A type's own schema narrows what task.json says too: both may refuse for the same reason.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems
    }
}

fn each(error: &ValidationError<'_>) -> Vec<Problem> {
    let place = error.instance_path();
    let problem = |pointer: &str, message: String| {
        Problem::new("schema", cut(pointer.into(), MAX_POINTER), cut(message, MAX_MESSAGE))
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .take(MAX_PROBLEMS)
            .map(|key| problem(place.join(key.as_str()).as_str(), format!("'{key}' is not a known field")))
            .collect(),
        _ => {
            let mut message = error.to_string();
            if message.len() > MAX_MESSAGE {
                message = error.masked().to_string();
            }
            vec![problem(place.as_str(), message)]
        }
    }
}

/// The text, or its beginning when it has more than `most` bytes.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - 3));
        text.push_str("...");
    }
    text
}
