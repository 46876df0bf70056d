//! A node gets its id and its record at its first start, and keeps them in its directory.

use anyhow::{Context as _, bail};
use muster_agent::disk::{Root, replace};
use muster_broker::{Fault, Txn, kv};
use muster_core::fleet::Fleet;
use muster_core::lane::Lane;
use muster_core::names::escape;
use muster_core::numbers::Numbers;
use muster_core::record::{Agent, DEFAULT_GROUP, Group, agent_id, agent_number};
use muster_runtime::{Shell, extend};
use serde::{Deserialize, Serialize};

/// Who a node is: `node.json` in its directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    /// Its id: its number.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl Identity {
    /// Its number.
    pub fn number(&self) -> u32 {
        // It was made from a number.
        agent_number(&self.id).unwrap_or_default()
    }
}

/// `nodes/numbers`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Numbered {
    next: u32,
}

/// The node's identity, from its directory or new. A node that has lost its directory takes its record over by its name.
pub async fn register(shell: &Shell, root: &Root, name: String) -> anyhow::Result<Identity> {
    let file = root.path().join("node.json");
    if let Ok(text) = std::fs::read(&file) {
        let known: Identity = serde_json::from_slice(&text).with_context(|| format!("{}", file.display()))?;
        return Ok(known);
    }
    let identity = loop {
        match enter(shell, &name).await {
            Ok(id) => break Identity { id, name },
            Err(Fault::Conflict) => {}
            Err(fault) => bail!("the node cannot be registered: {fault}"),
        }
    };
    replace(&file, &serde_json::to_vec_pretty(&identity)?, 0o600).with_context(|| format!("{}", file.display()))?;
    tracing::info!(node = identity.id, name = identity.name, "a new node");
    Ok(identity)
}

/// Makes the record, or finds the one with this name; gives the id.
async fn enter(shell: &Shell, name: &str) -> Result<String, Fault> {
    let mut txn = Txn::new(&shell.context.bus, Fleet::Nodes.bucket());
    let (claim, gmeta) = (format!("name.{}", escape(name)), format!("gmeta.{DEFAULT_GROUP}"));
    txn.load([claim.clone(), gmeta.clone(), "numbers".to_owned()]).await?;
    if let Some(id) = txn.get::<String>(&claim)? {
        return Ok(id);
    }
    let default = txn.get::<Group>(&gmeta)?;
    let group = default.clone().unwrap_or_else(|| Group::alive(None));
    if default.is_none() {
        txn.put_json(&gmeta, &group)?;
    }
    let number = txn.get::<Numbered>("numbers")?.map_or(1, |numbered| numbered.next);
    let next = number.checked_add(1).ok_or_else(|| Fault::Full("all numbers of nodes are used".into()))?;
    txn.put_json("numbers", &Numbered { next })?;
    let id = agent_id(number);
    let now = shell.context.clock.now();
    let mut record = Agent::enrolled(number, name.to_owned(), String::new(), &group, shell.epoch, now);
    // All nodes are in the one group; no task changes that.
    record.lanes.remove(&Lane::of(Lane::GROUPS));
    txn.put_json(&claim, &id)?;
    txn.put_json(&format!("id.{id}"), &record)?;
    let added = Numbers::from_iter([number]);
    extend(&mut txn, "enrolled", &added).await?;
    extend(&mut txn, &format!("group.{DEFAULT_GROUP}"), &added).await?;
    txn.commit().await.map(|_| id)
}

/// Where a node's record lies.
pub fn record_at(id: &str) -> (String, String) {
    let bucket = Fleet::Nodes.bucket();
    (kv::stream(bucket), kv::subject(bucket, &format!("id.{id}")))
}
