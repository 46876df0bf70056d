//! Nothing is lost: each message of TASKS has an outcome, and nothing is parked.

use std::collections::{BTreeMap, BTreeSet};

use muster_broker::Broker;
use muster_core::names::digest;
use muster_core::stamp::Stamp;
use muster_core::status::State;
use muster_core::task::place_id;
use serde_json::Value;

use super::Rest;
use crate::world::World;

pub(super) async fn check(world: &World, rest: &Rest, wrong: &mut Vec<String>) {
    let mut places: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for message in world.net.broker.messages("TASKS") {
        let (kind, body) = (message.subject.trim_start_matches("tasks."), message.body.unwrap_or_default());
        let digest = digest(&[kind.as_bytes(), b"\n", &body].concat());
        let document: Value = serde_json::from_slice(&body).unwrap_or_default();
        let place = |epoch| place_id(Stamp::new(epoch, message.revision));
        let id = document["id"].as_str().unwrap_or_default();
        let of = |id: &str| rest.tasks.iter().find(|task| task.id == id);
        match of(id) {
            Some(task) if task.digest == digest => {
                places.entry(id.to_owned()).or_default().insert(message.revision);
            }
            Some(_) if [0, 1].iter().any(|epoch| of(&place(*epoch)).is_some_and(|t| t.state == State::Rejected)) => {}
            _ => wrong.push(format!("the task {id} at {} has no outcome", message.revision)),
        }
    }
    for (id, places) in places {
        // Of a task that was published again, whichever message was seen first.
        if let Some(task) = rest.tasks.iter().find(|task| task.id == id && !places.contains(&task.order.number)) {
            wrong.push(format!("{id} was published at {places:?} and has the order {}", task.order));
        }
    }
    let ids: BTreeSet<&str> = rest.tasks.iter().map(|task| task.id.as_str()).collect();
    for key in rest.agents.keys() {
        let of = ["plan.", "recipients.", "page.", "finish."].iter().find_map(|kind| key.strip_prefix(kind));
        if let Some(task) = of.and_then(|rest| rest.split('.').next())
            && !ids.contains(task)
        {
            wrong.push(format!("{key} belongs to no task"));
        }
    }
    for dead in world.net.broker.list("DEAD", "dead.>").await.unwrap_or_default() {
        wrong.push(format!("{dead} was parked"));
    }
}
