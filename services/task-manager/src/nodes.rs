//! `node.list` and `node.get`: the server nodes.

use muster_broker::{decode, kv};
use muster_core::fleet::Fleet;
use muster_core::record::{Agent, Reported, agent_id, agent_number};
use muster_runtime::reply::{Answer, Error};
use serde_json::json;

use crate::questions::{Context, read};

const NODES: &str = Fleet::Nodes.bucket();

/// What a node should be and what it says it is.
pub(crate) async fn get(context: &Context, id: &str) -> Answer {
    let missing = || Error::missing("node", id, "see: muster node list");
    let id = agent_number(id).map(agent_id).ok_or_else(missing)?;
    let node: Agent = read(context, NODES, &format!("id.{id}")).await?.ok_or_else(missing)?;
    let reported: Option<Reported> = read(context, NODES, &format!("reported.{id}")).await?;
    Ok(json!({ "id": id, "desired": node, "reported": reported }))
}

/// All nodes in the order of their numbers.
pub(crate) async fn list(context: &Context) -> Answer {
    let subjects = context.steps.bus.list(&kv::stream(NODES), &kv::subject(NODES, "id.*")).await?;
    let mut nodes: Vec<Agent> = Vec::new();
    for entry in context.steps.bus.get_many(&kv::stream(NODES), &subjects).await? {
        if let Some(body) = entry.body {
            nodes.push(decode(NODES, &entry.subject, &body)?);
        }
    }
    nodes.sort_by_key(|node| node.number);
    let mut out = Vec::new();
    for node in nodes {
        let id = agent_id(node.number);
        let reported: Reported = read(context, NODES, &format!("reported.{id}")).await?.unwrap_or_default();
        out.push(json!({ "id": id, "name": node.name, "version": reported.version, "seen": reported.seen }));
    }
    Ok(json!({ "total": out.len(), "nodes": out }))
}
