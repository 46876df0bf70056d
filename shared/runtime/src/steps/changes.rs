//! The changes of the index that a plan names: with the plan itself, after the last page, or when the task is stopped.

use muster_broker::{Fault, Txn};
use muster_core::desired;
use muster_core::lane::Lane;
use muster_core::names::escape;
use muster_core::plan::Change;
use muster_core::record::{Agent, Content, Group, agent_id};
use muster_core::task::Task;

/// The key of a group.
pub(super) fn group_key(name: &str) -> String {
    format!("gmeta.{}", escape(name))
}

/// The key of a recipient's record.
pub(super) fn record_key(number: u32) -> String {
    format!("id.{}", agent_id(number))
}

/// The key of who has a name.
pub(super) fn name_key(name: &str) -> String {
    format!("name.{}", escape(name))
}

/// The key of a content that belongs to no group.
pub(super) fn index_key(content: &Lane) -> String {
    format!("index.{content}")
}

/// Adds changes to a batch; or says which newer task has had the last word.
pub(super) async fn apply(
    changes: &[Change],
    task: &Task<impl Sized>,
    txn: &mut Txn,
) -> Result<Result<(), String>, Fault> {
    for change in changes {
        let newer = match change {
            Change::Content { group, .. } | Change::Life { group, .. } => {
                let key = group_key(group);
                match desired::change(txn.fetch::<Group>(&key).await?, change, task) {
                    Ok(group) => txn.put_json(&key, &group).map(|()| None)?,
                    Err(newer) => Some(newer),
                }
            }
            Change::Index { content, digest, revision } => {
                let key = index_key(content);
                match desired::index(txn.fetch::<Content>(&key).await?, digest.clone(), *revision, task) {
                    Ok(pointer) => txn.put_json(&key, &pointer).map(|()| None)?,
                    Err(newer) => Some(newer),
                }
            }
            Change::Name { agent, name } => rename(agent, name, task, txn).await?,
        };
        if newer.is_some() {
            return Ok(newer.map_or(Ok(()), Err));
        }
    }
    Ok(Ok(()))
}

/// Moves an agent's claim from the name that it has to another one.
async fn rename(id: &str, name: &str, task: &Task<impl Sized>, txn: &mut Txn) -> Result<Option<String>, Fault> {
    let record: Option<Agent> = txn.fetch(&format!("id.{id}")).await?;
    let Some(agent) = record.filter(|agent| !agent.gone) else { return Ok(None) };
    let newer = desired::overtaken_by(&agent, &Lane::of(Lane::NAME), task.order);
    if newer.is_some() {
        return Ok(newer);
    }
    let (old, new) = (name_key(&agent.name), name_key(name));
    txn.load([old.clone(), new.clone()]).await?;
    if agent.name != name {
        txn.delete(&old);
    }
    txn.put_json(&new, &id)?;
    Ok(None)
}
