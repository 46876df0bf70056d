//! A configuration against `schemas/agent-configuration.json`.

use std::sync::LazyLock;

use serde_json::Value;

use super::yaml::Node;
use crate::problem::Problem;
use crate::schema::Schema;

static SCHEMA: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| Schema::compile(include_str!("../../../../schemas/agent-configuration.json")));

/// The contract.
pub(super) fn schema() -> Result<&'static Schema, String> {
    SCHEMA.as_ref().map_err(Clone::clone)
}

/// What the schema says against `value`, each with the line of `node` that it is about.
pub(super) fn problems(node: &Node, value: &Value, schema: Result<&Schema, String>) -> Vec<Problem> {
    let problems = match schema {
        Ok(schema) => schema.problems(value),
        Err(error) => vec![Problem::new("internal", "", error)],
    };
    let with_line = |problem: Problem| {
        let line = node.line(&problem.pointer);
        problem.line(line)
    };
    problems.into_iter().map(with_line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_schema_is_one_and_its_examples_are_valid() {
        let text = include_str!("../../../../schemas/agent-configuration.json");
        let document: Value = serde_json::from_str(text).unwrap();
        jsonschema::meta::validate(&document).unwrap();
        assert_eq!(document["$id"], "https://muster.dev/schemas/agent-configuration.json");
        let examples = document["examples"].as_array().unwrap();
        assert!(examples.len() > 1);
        for example in examples {
            assert_eq!(SCHEMA.as_ref().unwrap().problems(example), [], "{example}");
        }
    }
}
