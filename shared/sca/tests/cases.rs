//! The tables in `cases/`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use muster_sca::{Memory, Options, OsRegex, Outcome, Policy, scan};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table<C> {
    title: String,
    cases: Vec<C>,
}

/// Runs each case of a table and fails with all that are wrong.
fn run<C: DeserializeOwned>(name: &str, check: impl Fn(&C) -> Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(name);
    let table: Table<C> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(!table.cases.is_empty());
    let wrong: Vec<_> = table.cases.iter().flat_map(check).collect();
    assert!(wrong.is_empty(), "{}:\n{}", table.title, wrong.join("\n"));
}

/// An expression with texts that it matches, misses, or captures a part of; or it is refused with words of the message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    #[serde(default, rename = "title")]
    _title: String,
    pattern: String,
    #[serde(default)]
    matches: Vec<String>,
    #[serde(default)]
    misses: Vec<String>,
    #[serde(default)]
    captures: BTreeMap<String, String>,
    refused: Option<String>,
}

#[test]
fn osregex() {
    run("osregex.json", |case: &Expression| {
        let pattern = &case.pattern;
        let regex = match (OsRegex::parse(pattern), &case.refused) {
            (Err(why), Some(refused)) if why.contains(refused) => return Vec::new(),
            (Err(why), _) => return vec![format!("{pattern} is refused: {why}")],
            (Ok(_), Some(_)) => return vec![format!("{pattern} is not refused")],
            (Ok(regex), None) => regex,
        };
        let mut wrong = Vec::new();
        for text in case.matches.iter().chain(case.captures.keys()) {
            if !regex.is_match(text.as_bytes()) || regex.capture(text.as_bytes()).is_none() {
                wrong.push(format!("{pattern} misses {text:?}"));
            }
        }
        for text in &case.misses {
            if regex.is_match(text.as_bytes()) || regex.capture(text.as_bytes()).is_some() {
                wrong.push(format!("{pattern} matches {text:?}"));
            }
        }
        for (text, expected) in &case.captures {
            let captured = regex.capture(text.as_bytes()).map(String::from_utf8_lossy);
            if captured.as_deref() != Some(expected) {
                wrong.push(format!("{pattern} captures {captured:?} of {text:?}, not {expected:?}"));
            }
        }
        wrong
    });
}

/// Rules on a system: each holds, fails, or is not known for a reason that has these words in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    title: String,
    system: Memory,
    #[serde(default)]
    commands: bool,
    regex_type: Option<String>,
    #[serde(default)]
    variables: Value,
    rules: BTreeMap<String, String>,
    /// Seconds.
    #[serde(default = "hour")]
    time: u64,
}

fn hour() -> u64 {
    3600
}

impl Rules {
    fn options(&self) -> Options {
        Options { commands: self.commands, time: Duration::from_secs(self.time) }
    }
}

fn policy(rules: &[&str], regex_type: Option<&str>, variables: &Value) -> String {
    let mut policy = json!({
        "policy": { "id": "p", "name": "P" },
        "checks": [{ "id": 1, "title": "T", "condition": "all", "rules": rules }],
    });
    if let Some(regex_type) = regex_type {
        policy["policy"]["regex_type"] = regex_type.into();
    }
    if !variables.is_null() {
        policy["variables"] = variables.clone();
    }
    policy.to_string()
}

#[test]
fn rules() {
    run("rules.json", |case: &Rules| {
        let mut wrong = Vec::new();
        for (rule, expected) in &case.rules {
            let policy = match Policy::parse(&policy(&[rule], case.regex_type.as_deref(), &case.variables)) {
                Ok(policy) => policy,
                Err(problems) => {
                    wrong.push(format!("{}: {rule} is refused: {problems:?}", case.title));
                    continue;
                }
            };
            let report = scan(&policy, &case.system, case.options());
            let check = &report.checks[0];
            let right = match (check.result, &check.reason) {
                (Outcome::Passed, None) => expected == "holds",
                (Outcome::Failed, None) => expected == "fails",
                (Outcome::NotApplicable, Some(why)) => why.starts_with("/rules/0: ") && why.contains(expected),
                _ => false,
            };
            if !right {
                wrong.push(format!("{}: {rule}: {check:?}, not {expected:?}", case.title));
            }
        }
        wrong
    });
}

/// A policy, as lines, and its problems (code, pointer, line, words of the message); or rules that are each refused with
/// words of the message, or are not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    #[serde(default)]
    title: String,
    #[serde(default)]
    policy: Vec<String>,
    #[serde(default)]
    problems: Vec<(String, String, Option<u32>, String)>,
    #[serde(default)]
    rules: BTreeMap<String, Option<String>>,
}

#[test]
fn refused() {
    run("refused.json", |case: &Refused| {
        let mut wrong = Vec::new();
        for (rule, expected) in &case.rules {
            let found = Policy::parse(&policy(&["f:/a", rule], None, &Value::Null));
            let right = match (&found, expected) {
                (Ok(_), None) => true,
                (Err(problems), Some(expected)) => {
                    problems.len() == 1
                        && problems[0].code == "rule"
                        && problems[0].pointer == "/checks/0/rules/1"
                        && problems[0].message.starts_with("check 1: ")
                        && problems[0].message.contains(expected)
                }
                _ => false,
            };
            if !right {
                wrong.push(format!("{rule}: {found:?}, not {expected:?}"));
            }
        }
        if case.problems.is_empty() {
            return wrong;
        }
        let problems = Policy::parse(&case.policy.join("\n")).err().unwrap_or_default();
        let right = problems.len() == case.problems.len()
            && problems.iter().zip(&case.problems).all(|(found, (code, pointer, line, message))| {
                found.code == *code
                    && found.pointer.starts_with(pointer)
                    && (line.is_none() || found.line == *line)
                    && found.message.contains(message)
            });
        if !right {
            wrong.push(format!("{}: {problems:#?}", case.title));
        }
        wrong
    });
}
