//! What each agent holds, runs with and has on its disk is what its record says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::index::escape;
use crate::account::Account;
use crate::world::{Index, Violation};

pub(super) fn check(index: &Index, accounts: &BTreeMap<u32, Account>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, account) in accounts {
        let id = format!("{number:03}");
        let mut is = |rule, seen: String| found.push(Violation::new(rule, &id, seen));
        match index.records.get(number) {
            None => is("agent-unknown", "it has an account, and no record".into()),
            Some(record) if record["gone"] == true => {}
            Some(record) => one(record, account, &mut is),
        }
    }
    found
}

fn one(record: &Value, account: &Account, is: &mut impl FnMut(&'static str, String)) {
    // A node is in its group and is never told so.
    let told = lanes(record).contains_key("groups");
    if told && record["groups"] != json!(account.groups) {
        is("agent-groups", format!("its record says {}, it says {:?}", record["groups"], account.groups));
    }
    let lanes = lanes(record);
    for (lane, entry) in &lanes {
        // What an enrolment sets has the order 0-0 and no task.
        let task = if entry["order"] == "0-0" { json!("") } else { entry["task"].clone() };
        match account.lanes.get(lane) {
            None => is("agent-lane", format!("its record has {lane}, it has not")),
            Some(held)
                if held["version"] != entry["version"] || held["task"] != task || held["digest"] != entry["digest"] =>
            {
                is("agent-lane", format!("{lane}: its record says {entry}, it says {held}"));
            }
            Some(_) => {}
        }
    }
    for lane in account.lanes.keys().filter(|lane| !lanes.contains_key(*lane)) {
        is("agent-lane", format!("it has {lane}, its record has not"));
    }
    if account.lanes.values().any(|held| !held["failure"].is_null()) {
        // It runs with what it had before.
        return;
    }
    let mut wanted = in_force(record, &lanes);
    if !told {
        wanted.0.clear();
    }
    let seen = normal(&account.in_force);
    if wanted != seen {
        is("agent-in-force", format!("its record says {}, it runs with {}", json!(wanted), json!(seen)));
    }
    if account.ran.is_some() {
        files(&seen, &account.files, is);
    }
}

fn lanes(record: &Value) -> serde_json::Map<String, Value> {
    record["lanes"].as_object().cloned().unwrap_or_default()
}

type InForce = (Vec<String>, BTreeMap<String, String>);

/// The groups, and the digest in each lane.
fn in_force(record: &Value, lanes: &serde_json::Map<String, Value>) -> InForce {
    let digest = |(lane, entry): (&String, &Value)| Some((lane.clone(), entry["digest"].as_str()?.to_owned()));
    (texts(&record["groups"]), lanes.iter().filter_map(digest).collect())
}

fn normal(in_force: &Value) -> InForce {
    let pair = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
    let list = |key: &str| in_force[key].as_array().into_iter().flatten().filter_map(pair).collect::<Vec<_>>();
    let configurations =
        list("configurations").into_iter().map(|(group, digest)| (format!("config={}", escape(&group)), digest));
    (texts(&in_force["groups"]), configurations.chain(list("contents")).collect())
}

/// What a real agent has on its disk for people is what it runs with.
fn files(in_force: &InForce, files: &BTreeMap<String, String>, is: &mut impl FnMut(&'static str, String)) {
    // Names are escaped in file names as they are in lanes.
    let name = |lane: &str| match lane.split_once('=')? {
        ("config", group) => Some(format!("groups/{group}.yml")),
        ("active-response", item) => {
            let (group, name) = item.split_once("=2f")?;
            Some(format!("content/active-response/{group}/{name}.yml"))
        }
        _ => None,
    };
    let wanted: BTreeMap<String, String> =
        in_force.1.iter().filter_map(|(lane, digest)| Some((name(lane)?, digest.clone()))).collect();
    if wanted != *files {
        is("agent-files", format!("it runs with {wanted:?}, on its disk are {files:?}"));
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
