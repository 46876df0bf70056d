//! The index is consistent, is what the tasks in their order have made of it, and the agents are as it says.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::chain::Planned;
use muster_core::lane::Lane;
use muster_core::numbers::Numbers;
use muster_core::record::{Agent, DEFAULT_GROUP, Life, agent_id};
use serde_json::Value;

use super::Rest;
use crate::world::World;

pub(super) fn check(world: &World, rest: &Rest, wrong: &mut Vec<String>) {
    sets(rest, wrong);
    for record in rest.records() {
        contents(rest, &record, wrong);
        history(rest, &record, wrong);
    }
    for agent in world.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter() {
        let disk = agent.disk.disk();
        let Some(record) = disk.number.and_then(|number| rest.record(number)) else {
            wrong.push(format!("agent-{} has no record", agent.index));
            continue;
        };
        if record.gone {
            continue;
        }
        let id = agent_id(record.number);
        let state = disk.now();
        if state.groups != record.groups {
            wrong.push(format!("agent {id} is in {:?}, and the index says {:?}", state.groups, record.groups));
        }
        let has: BTreeMap<_, _> = state.lanes.iter().map(|held| (&held.lane, (held.version, &held.digest))).collect();
        let is: BTreeMap<_, _> =
            record.lanes.iter().map(|(lane, entry)| (lane, (entry.version, &entry.digest))).collect();
        if has != is {
            wrong.push(format!("agent {id} has the lanes {has:?}, and the index says {is:?}"));
        }
        if state.lanes.iter().all(|held| held.failure.is_none()) {
            let wanted: Vec<(String, String)> =
                record.groups.iter().filter_map(|group| digest_of(&record, group)).collect();
            let alone = |lane: &Lane| !matches!(lane.kind(), Lane::GROUPS | Lane::CONFIG);
            let others = record.lanes.iter().filter(|(lane, _)| alone(lane));
            let others: BTreeSet<_> = others.filter_map(|(lane, e)| Some((lane.clone(), e.digest.clone()?))).collect();
            let runs = &state.in_force;
            let has: BTreeSet<_> = runs.contents.iter().cloned().collect();
            if runs.groups != record.groups || runs.configurations != wanted || has != others {
                wrong.push(format!(
                    "agent {id} runs with {:?}, and the index says {wanted:?} {others:?}",
                    state.in_force
                ));
            }
        }
        if !state.results.is_empty() {
            wrong.push(format!("agent {id} has results that nobody took: {:?}", state.results));
        }
    }
}

fn digest_of(record: &Agent, group: &str) -> Option<(String, String)> {
    Some((group.to_owned(), record.lanes.get(&Lane::config(group))?.digest.clone()?))
}

/// The sets and claims say what the records say.
fn sets(rest: &Rest, wrong: &mut Vec<String>) {
    let mut members: BTreeMap<String, Numbers> = BTreeMap::new();
    let (mut gone, mut all, mut names) = (Numbers::new(), Numbers::new(), BTreeMap::new());
    for record in rest.records() {
        all.insert(record.number);
        if record.gone {
            gone.insert(record.number);
            continue;
        }
        names.insert(record.name.clone(), agent_id(record.number));
        for group in record.groups {
            members.entry(group).or_default().insert(record.number);
        }
    }
    for (what, is, says) in [("enrolled", &all, rest.set("enrolled.")), ("gone", &gone, rest.set("gone."))] {
        if *is != says {
            wrong.push(format!("{what} are {is:?}, and the set says {says:?}"));
        }
    }
    let groups: BTreeSet<String> = rest.groups().map(|(name, _)| name).collect();
    for group in groups.iter().chain(members.keys()).collect::<BTreeSet<_>>() {
        let (is, says) = (members.get(group).cloned().unwrap_or_default(), rest.set(&format!("group.{group}.")));
        if is != says {
            wrong.push(format!("in {group} are {is:?}, and the set says {says:?}"));
        }
        let alive = rest.groups().any(|(name, meta)| name == *group && meta.life == Life::Alive);
        if !alive && !is.is_empty() {
            wrong.push(format!("{is:?} are in {group}, which is deleted"));
        }
    }
    for (name, meta) in rest.groups().filter(|(_, meta)| meta.life == Life::Deleting) {
        wrong.push(format!("{name} is being deleted for ever, by {:?}", meta.by));
    }
    let claims: BTreeMap<String, String> = rest
        .under("name.")
        .filter_map(|(name, body)| Some((name.to_owned(), serde_json::from_slice(body).ok()?)))
        .collect();
    if claims != names {
        wrong.push(format!("the names are {names:?}, and claimed are {claims:?}"));
    }
}

/// Who is in a group has what is in force there.
fn contents(rest: &Rest, record: &Agent, wrong: &mut Vec<String>) {
    // A task that was stopped half-way has changed the group, and only some of its members.
    let stopped = |task: &str| rest.tasks.iter().any(|of| of.id == task && of.stop.is_some());
    let id = agent_id(record.number);
    for (name, meta) in rest.groups().filter(|(name, _)| record.in_group(name)) {
        for (content, pointer) in &meta.contents {
            let has = record.lanes.get(&Lane::of_content(&name, content));
            let is = pointer.in_force();
            if has.and_then(|entry| entry.digest.as_deref()) != is && !stopped(&pointer.task) {
                wrong.push(format!("agent {id} is to have {has:?} of {name}, where {is:?} is in force"));
            }
        }
    }
    for lane in record.lanes.keys().filter(|lane| lane.group().is_some_and(|group| !record.in_group(group))) {
        wrong.push(format!("agent {id} is to have {lane} of a group that it is not in"));
    }
}

/// The list of groups is what the tasks that have changed it, in their order, have made of it.
fn history(rest: &Rest, record: &Agent, wrong: &mut Vec<String>) {
    if record.gone {
        return;
    }
    let mut groups = vec![DEFAULT_GROUP.to_owned()];
    for task in rest.tasks.iter().filter(|task| task.kind == "group-assignment") {
        let Some(Planned::Plan(plan)) = rest.plan(&task.id) else { continue };
        if !rest.pages(&task.id).iter().any(|page| page.commanded.contains(record.number)) {
            continue;
        }
        let list = plan.args["groups"].as_array().cloned().unwrap_or_default();
        let mut named: Vec<String> = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        match plan.args["operation"].as_str() {
            Some("assign") => {
                named.retain(|group| !groups.contains(group));
                groups.append(&mut named);
            }
            Some("replace") => groups = named,
            Some("unassign") => groups.retain(|group| !named.contains(group)),
            _ => groups.retain(|group| Some(group.as_str()) != plan.args["group"].as_str()),
        }
    }
    if groups != record.groups {
        let id = agent_id(record.number);
        wrong.push(format!("agent {id} is to be in {:?}; one task after the other gives {groups:?}", record.groups));
    }
}
