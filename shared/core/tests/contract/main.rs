//! The contract: what `schemas/` says and what the Rust types do is the same. A schema without a row, a field that only
//! one side has, a property without a description or without an example fails here.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod full;
mod schemas;
mod tasks;

use std::collections::BTreeSet;

use muster_core::chain::{Frozen, Paged, Planned, Stored};
use muster_core::dead::DeadLetter;
use muster_core::fact::{Fact, StoredResult};
use muster_core::feed::{self, Feed};
use muster_core::message::{self, Command, Confirmed, Enrol, Enrolled, HandOver, Hello, Refused, Report, Sync};
use muster_core::names;
use muster_core::package::{Chunk, MAX_CHUNK, Package, Upgrade};
use muster_core::record::{self, Agent, Group, Reported};
use muster_core::sca::{self, Manifest};
use muster_core::schema::Schema;
use muster_core::summary::Summary;
use muster_core::target;
use muster_core::task::{self, Envelope};
use schemas::Schemas;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A schema and the type that it describes.
struct Row {
    /// The name of the file, without `.json`.
    schema: &'static str,
    /// Reads a value into the type and writes it again.
    again: fn(&Value) -> Result<Value, String>,
    /// Values of the type in which every field is filled.
    full: Vec<Value>,
}

/// The table: every message and record.
fn rows() -> Vec<Row> {
    vec![
        row::<Envelope>("task", full::envelopes()),
        task_type("group-assignment"),
        task_type("active-response-execution"),
        task_type("active-response-configuration"),
        task_type("ruleset-update"),
        task_type("cve-content"),
        task_type("vulnerability-rescan"),
        task_type("sca-content"),
        task_type("sca-policy"),
        task_type("rbac-change"),
        task_type("server-configuration"),
        task_type("agent-upgrade"),
        task_type("agent-package"),
        task_type("agent-deletion"),
        task_type("agent-name"),
        task_type("group-configuration"),
        row::<Package>("package", vec![full::package()]),
        row::<Feed>("feed", vec![full::feed()]),
        row::<Manifest>("sca-manifest", vec![full::manifest()]),
        row::<Upgrade>("upgrade", vec![Upgrade { package: full::package(), force: true }]),
        row::<Chunk>("chunk", vec![Chunk { sha256: names::digest(b"x"), offset: u64::MAX, length: MAX_CHUNK }]),
        row::<Command>("command", vec![full::command()]),
        row::<HandOver>("hand-over", vec![full::hand_over()]),
        row::<Enrol>("enrol", vec![full::enrol()]),
        row::<Enrolled>("enrolled", vec![full::enrolled()]),
        row::<Hello>("hello", vec![full::hello()]),
        row::<Sync>("sync", vec![full::sync()]),
        row::<Report>("report", vec![full::report()]),
        row::<Confirmed>("confirmed", vec![full::confirmed()]),
        row::<Refused>("refused", vec![full::refused()]),
        row::<Summary>("summary", full::summaries()),
        row::<Fact>("fact", full::facts()),
        row::<StoredResult>("stored-result", full::stored_results()),
        row::<DeadLetter>("dead-letter", vec![full::dead_letter()]),
        row::<Agent>("agent", vec![full::agent()]),
        row::<Group>("group", full::groups()),
        row::<Reported>("reported", vec![full::reported()]),
        row::<Stored<Planned>>("plan", full::planned()),
        row::<Stored<Frozen>>("recipients", full::frozen()),
        row::<Stored<Paged>>("page", full::paged()),
    ]
}

/// Schemas without a type in the core: what others share, and the bodies that are tested where they are read:
/// `configuration` for the agents', `settings` for the server nodes', `muster-active-response` for active responses, the
/// agent's module for SCA findings, `muster-vulnerabilities` for scans.
const WITHOUT_TYPE: [&str; 7] = [
    "types",
    "agent-configuration",
    "server-settings",
    "active-response",
    "sca-findings",
    "inventory",
    "vulnerabilities",
];

/// The largest numbers that schemas and constants both state.
const LIMITS: &[(&str, &str, usize)] = &[
    ("task", "/$defs/id/pattern", names::MAX_TASK_ID),
    ("task", "/$defs/task/pattern", names::MAX_TASK_ID),
    ("task", "/$defs/group/pattern", names::MAX_NAME),
    ("task", "/$defs/timeout/maximum", task::MAX_TIMEOUT as usize),
    ("task", "/$defs/agents/properties/id/then/maxItems", target::MAX_IDS),
    ("task", "/$defs/groups/properties/id/then/maxItems", target::MAX_IDS),
    ("task", "/$defs/servers/properties/id/then/maxItems", target::MAX_IDS),
    ("group-assignment", "/properties/args/else/properties/groups/maxItems", record::MAX_GROUPS),
    ("agent", "/properties/groups/maxItems", record::MAX_GROUPS),
    ("command", "/properties/timeout/maximum", task::MAX_TIMEOUT as usize),
    ("feed", "/properties/changes/maxItems", feed::MAX_CHANGES),
    ("hand-over", "/properties/bodies/additionalProperties/maxLength", message::MAX_BODY),
    ("report", "/properties/results/maxItems", message::MAX_RESULTS),
    ("confirmed", "/properties/confirmed/maxItems", message::MAX_RESULTS),
    ("sca-findings", "/properties/policies/maxItems", record::MAX_DIGESTS),
    ("types", "/$defs/digests/maxProperties", record::MAX_DIGESTS),
    ("sca-manifest", "/properties/policies/maxProperties", sca::MAX_POLICIES),
    ("sca-policy", "/properties/args/then/properties/content/maxLength", message::MAX_BODY),
    ("chunk", "/properties/length/maximum", MAX_CHUNK as usize),
];

fn row<T: Serialize + DeserializeOwned>(schema: &'static str, full: Vec<T>) -> Row {
    let full = full.iter().map(|value| serde_json::to_value(value).unwrap()).collect();
    Row { schema, again: again::<T>, full }
}

/// A task type: the form of its arguments is its function's, and tested by the cases there.
fn task_type(schema: &'static str) -> Row {
    row::<Envelope>(schema, Vec::new())
}

fn again<T: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, String> {
    let value: T = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
    serde_json::to_value(value).map_err(|e| e.to_string())
}

#[test]
fn every_schema_has_a_row() {
    let rows: BTreeSet<_> = rows().iter().map(|row| row.schema.to_owned()).collect();
    let known: BTreeSet<_> = rows.into_iter().chain(WITHOUT_TYPE.map(str::to_owned)).collect();
    assert_eq!(Schemas::load().names(), known);
}

#[test]
fn every_schema_is_one() {
    let all = Schemas::load();
    for name in all.names() {
        let document = all.document(&name);
        jsonschema::meta::validate(document).unwrap();
        assert_eq!(document["$id"], format!("https://muster.dev/schemas/{name}.json"));
        assert!(document["title"].is_string() && document["description"].is_string(), "{name}");
    }
}

#[test]
fn every_property_is_described_and_in_an_example() {
    let all = Schemas::load();
    let mut used = BTreeSet::new();
    let mut named = BTreeSet::new();
    for name in all.names().iter().filter(|name| *name != "agent-configuration") {
        for property in all.properties(name) {
            assert!(all.is_described(&property), "{property} has no description");
            named.insert(property);
        }
        let own = all.used_by_examples(name);
        let foreign = format!("{name}.json#");
        used.extend(own.into_iter().filter(|at| at.starts_with(&foreign) || at.starts_with("types.json#")));
    }
    assert_eq!(named.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "in no example of their schema");
}

#[test]
fn every_example_is_valid_and_comes_back_from_its_type() {
    let all = Schemas::load();
    for Row { schema, again, .. } in rows() {
        let compiled = Schema::compile(&all.document(schema).to_string()).unwrap();
        let examples = all.document(schema)["examples"].as_array().expect("examples");
        assert!(!examples.is_empty(), "{schema}");
        for example in examples {
            assert_eq!(compiled.problems(example), [], "{schema}: {example}");
            let written = again(example).unwrap_or_else(|e| panic!("{schema}: {e}: {example}"));
            assert!(same(&written, example), "{schema}: {example} came back as {written}");
            assert_eq!(compiled.problems(&written), [], "{schema}: {written}");
        }
    }
}

#[test]
fn what_a_type_writes_is_known_to_its_schema() {
    let all = Schemas::load();
    let closed = all.closed();
    for Row { schema, full, again } in rows() {
        for value in full {
            closed.validate(schema, &value).unwrap_or_else(|e| panic!("{schema}: {e}: {value}"));
            assert_eq!(again(&value).unwrap(), value, "{schema}");
        }
    }
    let mut unknown = serde_json::to_value(full::agent()).unwrap();
    unknown["lanes"]["groups"]["new"] = json!(1);
    assert!(
        closed.validate("agent", &unknown).is_err(),
        "the check itself finds a field that the schema does not know"
    );
}

#[test]
fn type_and_schema_agree_on_unknown_fields() {
    let all = Schemas::load();
    let (mut refused, mut taken) = (0, 0);
    for Row { schema, again, full } in rows().into_iter().filter(|row| !row.full.is_empty()) {
        let compiled = Schema::compile(&all.document(schema).to_string()).unwrap();
        for value in full.iter().flat_map(schemas::with_an_unknown_field) {
            let problems = compiled.problems(&value);
            if problems.is_empty() {
                assert!(again(&value).is_ok(), "only the type refuses it, {schema}: {value}");
                taken += 1;
            } else if problems.iter().any(|problem| problem.message == "'unknown_field' is not a known field") {
                assert!(again(&value).is_err(), "only the schema refuses it, {schema}: {value}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10 && taken > 10, "{refused} {taken}");
}

#[test]
fn limits_are_the_same_on_both_sides() {
    let all = Schemas::load();
    for (schema, pointer, limit) in LIMITS {
        let found = all.document(schema).pointer(pointer).unwrap_or_else(|| panic!("{schema} has no {pointer}"));
        let same = match found {
            Value::String(pattern) => pattern.contains(&format!("{{1,{limit}}}")),
            number => *number == json!(limit),
        };
        assert!(same, "{schema} {pointer} is {found} and not {limit}");
    }
}

/// Whether the type kept all that the example says and added no more than defaults.
fn same(written: &Value, example: &Value) -> bool {
    match (written, example) {
        (Value::Object(written), Value::Object(example)) => {
            example.keys().all(|key| written.contains_key(key))
                && written.iter().all(|(key, value)| example.get(key).map_or(is_default(value), |old| same(value, old)))
        }
        (Value::Array(written), Value::Array(example)) => {
            written.len() == example.len() && written.iter().zip(example).all(|(a, b)| same(a, b))
        }
        _ => written == example,
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_default),
        other => [json!(null), json!(false), json!(0), json!(""), json!([])].contains(other),
    }
}
