//! The tables in `cases/`: rules with the events that they match and those that they do not, and rules that are refused.
//!
//! A case has a `detection` (the section of a rule on Linux) or whole `files` (name and lines). With `detection`, the
//! rule matches each event of `matches` and none of `misses`; with `files`, each of `found` lists the rules that an event
//! matches. With `refused` the body is refused for just these problems, in order; `message` is a part of the message.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;

use muster_core::problem::Problem;
use muster_sigma::{Event, Match, Ruleset};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    title: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    title: String,
    detection: Option<Value>,
    files: Option<Map<String, Value>>,
    #[serde(default)]
    matches: Vec<Value>,
    #[serde(default)]
    misses: Vec<Value>,
    #[serde(default)]
    found: Vec<Found>,
    #[serde(default)]
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    event: Value,
    matches: Vec<Match>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    code: String,
    pointer: Option<String>,
    line: Option<u32>,
    message: String,
}

impl Refused {
    fn is(&self, problem: &Problem) -> bool {
        self.code == problem.code
            && self.pointer.as_ref().is_none_or(|pointer| *pointer == problem.pointer)
            && self.line.is_none_or(|line| Some(line) == problem.line)
            && problem.message.contains(&self.message)
    }
}

impl Case {
    fn body(&self) -> String {
        if let Some(files) = &self.files {
            let text = |lines: &Value| {
                let lines: Vec<&str> = lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
                lines.join("\n")
            };
            let files: Vec<_> =
                files.iter().map(|(name, lines)| format!("{}:{}", json!(name), json!(text(lines)))).collect();
            return format!("{{{}}}", files.join(","));
        }
        let rule = json!({ "title": "T", "logsource": { "product": "linux" }, "detection": self.detection });
        json!({ "a.yml": rule.to_string() }).to_string()
    }

    fn check(&self) -> Result<(), String> {
        let ruleset = match (Ruleset::load(self.body().as_bytes()), self.refused.is_empty()) {
            (Ok(_), false) => return Err("it is not refused".into()),
            (Err(problems), true) => return Err(format!("it is refused: {problems:?}")),
            (Err(problems), false) => {
                let same = problems.len() == self.refused.len();
                let same = same && self.refused.iter().zip(&problems).all(|(refused, problem)| refused.is(problem));
                return if same { Ok(()) } else { Err(format!("it is refused for {problems:#?}")) };
            }
            (Ok(ruleset), true) => ruleset,
        };
        let found = |event: &Value| ruleset.matches(&Event::new(event.clone()).unwrap());
        if self.matches.is_empty() && self.found.is_empty() {
            return Err("the case shows nothing".into());
        }
        if let Some(event) = self.matches.iter().find(|event| found(event).is_empty()) {
            return Err(format!("{event} does not match"));
        }
        if let Some(event) = self.misses.iter().find(|event| !found(event).is_empty()) {
            return Err(format!("{event} matches"));
        }
        for Found { event, matches } in &self.found {
            if found(event) != *matches {
                return Err(format!("{event} matches {:#?}", found(event)));
            }
        }
        Ok(())
    }
}

#[test]
fn every_case_comes_out_as_it_says() {
    let mut tables = BTreeMap::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")).unwrap() {
        let path = file.unwrap().path();
        let table: Table = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).expect("a table");
        tables.insert(path, table);
    }
    assert!(tables.len() >= 5, "the tables are there");
    let mut failed = Vec::new();
    for table in tables.values() {
        for case in &table.cases {
            if let Err(why) = case.check() {
                failed.push(format!("{} / {}: {why}", table.title, case.title));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
