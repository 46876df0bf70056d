//! Groups, members, records and names agree with each other.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use serde_json::Value;

use crate::numbers::some;
use crate::world::{Index, Violation, World};

use super::recipients::left_out;

/// Whom stopped tasks have left out, by task.
type LeftOut<'a> = BTreeMap<&'a str, RoaringBitmap>;

pub(super) fn check(world: &World, index: &Index) -> Vec<Violation> {
    let stopped = world.tasks.iter().filter_map(|(id, task)| Some((id.as_str(), left_out(index, task)?)));
    let left_out: LeftOut<'_> = stopped.collect();
    let mut found = Vec::new();
    let mut is = |rule, of: &str, seen: String| found.push(Violation::new(rule, of, seen));
    let (mut members, mut names): (BTreeMap<&str, RoaringBitmap>, BTreeMap<&str, u32>) = Default::default();
    let (mut all, mut gone) = (RoaringBitmap::new(), RoaringBitmap::new());
    for (number, record) in &index.records {
        let (id, name) = (format!("{number:03}"), record["name"].as_str().unwrap_or_default());
        all.insert(*number);
        if record["gone"] == true {
            gone.insert(*number);
            continue;
        }
        match index.names.get(name) {
            Some(owner) if *owner == id => {}
            owner => is("name", &id, format!("it is called {name}, which belongs to {owner:?}")),
        }
        if let Some(other) = names.insert(name, *number) {
            is("name", &id, format!("it is called {name}, as is {other:03}"));
        }
        let groups: Vec<&str> = record["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for group in &groups {
            members.entry(group).or_default().insert(*number);
        }
        pointers(index, &left_out, *number, &groups, record, &mut is);
    }
    if all != index.enrolled {
        is("enrolled", "enrolled", format!("{} are enrolled, {} have records", index.enrolled.len(), all.len()));
    }
    if gone != index.gone {
        is("gone", "gone", format!("{} are gone, {} have tombstones", some(&index.gone), some(&gone)));
    }
    for name in index.names.keys().filter(|name| !names.contains_key(name.as_str())) {
        is("name", name, "it is claimed, and nobody is called so".into());
    }
    let none = RoaringBitmap::new();
    for group in members.keys().copied().chain(index.members.keys().map(String::as_str)) {
        let (records, set) = (members.get(group).unwrap_or(&none), index.members.get(group).unwrap_or(&none));
        if records != set {
            let (less, more) = (records - set, set - records);
            is("members", group, format!("the group's set lacks {}, and has {} too many", some(&less), some(&more)));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The lanes of a record are those of its groups' contents.
fn pointers(
    index: &Index,
    left_out: &LeftOut<'_>,
    number: u32,
    groups: &[&str],
    record: &Value,
    is: &mut impl FnMut(&'static str, &str, String),
) {
    let id = &format!("{number:03}");
    for group in groups {
        let Some(meta) = index.groups.get(*group) else {
            if *group != "default" {
                is("group-missing", id, format!("it is in {group}, which was never made"));
            }
            continue;
        };
        if meta["life"] != "alive" {
            is("group-dead", id, format!("it is in {group}, which is {}", meta["life"]));
        }
        for (content, pointer) in meta["contents"].as_object().into_iter().flatten() {
            let lane = &record["lanes"][lane(group, content)];
            let in_force = if pointer["disabled"] == true { &Value::Null } else { &pointer["digest"] };
            let same = lane["digest"] == *in_force && (in_force.is_null() || lane["revision"] == pointer["revision"]);
            let task = pointer["task"].as_str().unwrap_or_default();
            if !same && !left_out.get(task).is_some_and(|left| left.contains(number)) {
                is("pointer", id, format!("{group} has {content} at {pointer}, its record {lane}"));
            }
        }
    }
    let lanes = record["lanes"].as_object().into_iter().flatten();
    for (lane, _) in lanes.filter(|(lane, _)| group(lane).is_some_and(|group| !groups.contains(&group.as_str()))) {
        is("lane-left", id, format!("it has {lane} and is not in that group"));
    }
}

/// The lane of a member for a content of a group: `config=<group>`, `sca=<group>/<policy>` with `/` as `=2f`. The
/// contents of server nodes are lanes without a group.
fn lane(group: &str, content: &str) -> String {
    match content.split_once('=') {
        None if content == "config" => format!("config={}", escape(group)),
        Some((kind @ ("sca" | "active-response"), item)) => format!("{kind}={}=2f{item}", escape(group)),
        _ => content.to_owned(),
    }
}

/// The group of such a lane.
fn group(lane: &str) -> Option<String> {
    let (kind, item) = lane.split_once('=')?;
    let group = match kind {
        "config" => item,
        "sca" | "active-response" => item.split_once("=2f")?.0,
        _ => return None,
    };
    Some(crate::read::unescape(group))
}

pub(super) fn escape(name: &str) -> String {
    name.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            other => out.push_str(&format!("={other:02x}")),
        }
        out
    })
}
