//! What the documents name exists: files, tests, links, statuses.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};

use muster_core::desired;
use muster_core::lane::Lane;
use muster_core::status::Status;
use muster_core::task::TaskType;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Whether a file holds a test of this name: a function under an attribute that makes it one.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().enumerate().any(|(at, line)| {
        let attributes =
            lines[..at].iter().rev().take_while(|above| above.starts_with("#[") || above.starts_with("//"));
        declared(line) && attributes.into_iter().any(|above| *above == "#[test]" || above.starts_with("#[tokio::test"))
    })
}

#[test]
fn requirements_name_files_and_tests_that_exist() {
    let text = read("docs/requirements.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| not yet |"));
    let (mut count, mut tests) = (0, 0);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [requirement, places, shown, missing] = cells.as_slice() else { panic!("not four cells: {row}") };
        count += 1;
        for path in quoted(places) {
            assert!(root().join(path).exists(), "{requirement}: there is no {path}");
        }
        for test in quoted(shown) {
            tests += 1;
            let Some((path, name)) = test.split_once("::") else {
                assert!(root().join(test).exists(), "{requirement}: there is no {test}");
                continue;
            };
            assert!(is_test(&read(path), name), "{requirement}: there is no test {test}");
        }
        assert!(!shown.is_empty() || !missing.is_empty(), "{requirement}: neither a test nor why there is none");
        assert!(!places.is_empty() || !missing.is_empty(), "{requirement}: neither a place nor why there is none");
    }
    assert!(count > 14 && tests > count, "{count} rows with {tests} tests: the tables were not read");
}

#[test]
fn each_promise_names_tests_that_exist() {
    let text = read("docs/reliability.md");
    let (promises, _) = text.split_once("\n## Killing real processes").expect("the part about killing");
    let rows: Vec<Vec<&str>> = promises
        .lines()
        .filter(|line| line.starts_with("| ") && line[2..].starts_with(|c: char| c.is_ascii_digit()))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let numbers: Vec<String> = rows.iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(numbers, (1..=14).map(|n| n.to_string()).collect::<Vec<_>>(), "the promises of the design, in order");
    for row in rows {
        let [number, _, shown, _] = row.as_slice() else { panic!("not four cells: {row:?}") };
        let tests: Vec<&str> = quoted(shown).collect();
        assert!(!tests.is_empty(), "promise {number} names no test");
        for test in tests {
            let (path, name) =
                test.split_once("::").unwrap_or_else(|| panic!("promise {number}: {test} is no path::test"));
            assert!(is_test(&read(path), name), "promise {number}: there is no test {test}");
        }
    }
}

#[test]
fn links_lead_somewhere() {
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "docs/requirements.md", "docs/reliability.md"] {
        let folder = root().join(document).parent().unwrap().to_owned();
        let text = read(document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            let path = target.split('#').next().unwrap();
            assert!(target.contains("://") || folder.join(path).exists(), "{document} links to {target}");
        }
    }
}

#[test]
fn the_readme_explains_every_status() {
    let text = read("README.md");
    for status in Status::ALL {
        assert!(text.contains(&format!("\n| `{}` |", status.name())), "{} is not explained", status.name());
    }
}

#[test]
fn a_name_in_a_comment_is_no_test() {
    let text =
        "// fn gone()\n#[test]\nfn here() {}\n\nfn helper() {}\n#[tokio::test(flavor = \"x\")]\nasync fn there() {}";
    let found = ["gone", "here", "helper", "there", "her"].map(|name| is_test(text, name));
    assert_eq!(found, [false, true, false, true, false]);
}

/// A file of JSON.
fn json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The cases of a type's function.
fn cases(kind: &str) -> Vec<Value> {
    let folder = root().join("functions").join(kind).join("cases");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    files.map(|file| json(&file.unwrap().path())).collect()
}

/// Whether a case decides about somebody in this way.
fn decides(case: &Value, how: impl Fn(&Value) -> bool) -> bool {
    case["agents"].as_array().is_some_and(|agents| agents.iter().any(|agent| how(&agent["decision"])))
}

#[test]
fn each_of_the_fifteen_types_has_a_row_a_schema_an_example_its_cases_and_an_end_to_end_test() {
    let text = read("docs/requirements.md");
    let (_, table) = text.split_once("## The fifteen types").expect("the section of the fifteen types");
    let (table, _) = table.split_once("\n## ").unwrap_or((table, ""));
    let demo = read("deploy/demo");
    let protocol = read("docs/protocol.md");
    assert_eq!(TaskType::ALL.len(), 15);
    for kind in TaskType::ALL.iter().map(|kind| kind.name()) {
        let row = table.lines().find(|line| line.starts_with(&format!("| {kind} |")));
        let row = row.unwrap_or_else(|| panic!("{kind} has no row"));
        for place in ["functions/KIND/src/lib.rs", "schemas/KIND.json", "functions/KIND/tests/cases.rs::cases"] {
            let place = place.replace("KIND", kind);
            assert!(quoted(row).any(|named| named == place), "{kind}: the row does not name {place}");
        }
        assert!(quoted(row).any(|named| named.starts_with("tests/tests/")), "{kind}: no end-to-end test");
        let schema = json(&root().join(format!("schemas/{kind}.json")));
        assert!(schema["examples"].as_array().is_some_and(|examples| !examples.is_empty()), "{kind}: no example");
        let cases = cases(kind);
        assert!(cases.iter().any(|case| case["refused"].is_array()), "{kind}: no case of a refusal");
        assert!(cases.iter().any(|case| case["plan"].is_object()), "{kind}: no case of a plan");
        let commands = cases.iter().any(|case| decides(case, |how| how.get("skipped").is_none()));
        assert!(commands, "{kind}: no case of a decision that commands");
        assert!(demo.contains(&format!("tasks.{kind}")) || demo.contains(&format!("submit.{kind}")), "{kind}: no demo");
        assert!(protocol.contains(&format!("```json {kind}\n")), "{kind}: no example in the protocol");
    }
}

/// Configuration is applied while an agent runs: there is no command that restarts it, or its machine.
#[test]
fn no_command_restarts_an_agent_and_each_is_in_the_protocol() {
    let protocol = read("docs/protocol.md");
    let mut commands: Vec<String> = Vec::new();
    for kind in TaskType::ALL {
        let actions =
            cases(kind.name()).into_iter().filter_map(|case| case["plan"]["action"].as_str().map(str::to_owned));
        commands.extend(actions);
    }
    commands.sort();
    commands.dedup();
    assert!(commands.len() >= 15, "{commands:?}");
    for command in &commands {
        for word in ["restart", "reboot", "shutdown", "reload-agent"] {
            assert!(!command.contains(word), "{command}");
        }
        let edge = ["disconnect", "run-active-response"].contains(&command.as_str());
        let sets = desired::sets(command);
        assert!(edge || sets.is_some(), "{command} sets no lane");
        // Server nodes are no foreign agents: what they are sent is not in the protocol.
        let of_nodes = [Lane::PACKAGE, Lane::CVE_CONTENT, Lane::RULESET, Lane::SERVER_CONFIGURATION, Lane::RBAC];
        if sets.is_some_and(|lane| of_nodes.contains(&lane)) {
            continue;
        }
        let heading = protocol.lines().any(|line| line.starts_with("### ") && line.contains(command.as_str()));
        assert!(heading, "the protocol does not describe {command}");
    }
    for (name, word) in [("schemas/command.json", "restart"), ("schemas/command.json", "reboot")] {
        assert!(!read(name).to_lowercase().contains(word), "{name} knows '{word}'");
    }
}
