//! The sets that a page changes beside the records: who is in which group, and who is gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use muster_broker::{Fault, Txn};
use muster_core::fleet::Fleet;
use muster_core::names::escape;
use muster_core::numbers::Numbers;
use muster_core::plan::Decision;
use muster_core::record::{Agent, Group};

use super::changes::{group_key, name_key};

/// The groups that a page's agents join and leave: their lives are checked, their sets of members are changed.
pub(super) struct Groups {
    bucket: &'static str,
    alive: HashMap<String, Group>,
    sets: BTreeMap<String, Numbers>,
    changed: BTreeSet<String>,
    /// Names that are free from now on.
    freed: BTreeSet<String>,
}

impl Groups {
    /// Reads what these decisions look at and change.
    pub(super) async fn load(fleet: Fleet, txn: &mut Txn, decisions: &[(&Decision, &Agent)]) -> Result<Self, Fault> {
        let (mut joined, mut sets, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (decision, agent) in decisions {
            let groups: &[String] = if let Decision::Groups(groups) = decision { groups } else { &[] };
            for group in groups.iter().filter(|g| !agent.in_group(g)) {
                joined.insert(group.clone());
                sets.insert(set_key(group, agent.number));
            }
            sets.extend(agent.groups.iter().filter(|g| !groups.contains(g)).map(|g| set_key(g, agent.number)));
            if matches!(decision, Decision::Delete) {
                sets.insert(gone_key(agent.number));
                names.insert(name_key(&agent.name));
            }
        }
        let keys = joined.iter().map(|name| group_key(name)).chain(sets.iter().cloned()).chain(names);
        txn.load(keys.collect::<Vec<_>>()).await?;
        let mut out = Self {
            bucket: fleet.bucket(),
            alive: HashMap::new(),
            sets: BTreeMap::new(),
            changed: BTreeSet::new(),
            freed: BTreeSet::new(),
        };
        for name in joined {
            if let Some(group) = txn.get::<Group>(&group_key(&name))? {
                out.alive.insert(name, group);
            }
        }
        for key in sets {
            let numbers = txn.bytes(&key).map_or(Ok(Numbers::new()), |body| Numbers::decode(body));
            // Only sets that change are written; the others need no check.
            txn.unchecked(&key);
            let numbers = numbers.map_err(|why| Fault::Refused(format!("{}/{key}: {why}", out.bucket)))?;
            out.sets.insert(key, numbers);
        }
        Ok(out)
    }

    /// A group that is joined.
    pub(super) fn alive(&self, name: &str) -> Option<&Group> {
        self.alive.get(name)
    }

    /// The agent has joined and left these groups.
    pub(super) fn moved(&mut self, number: u32, joined: &[String], left: &[String]) {
        for group in joined {
            self.change(set_key(group, number), |set| set.insert(number));
        }
        for group in left {
            self.change(set_key(group, number), |set| set.remove(number));
        }
    }

    /// The agent is deleted.
    pub(super) fn buried(&mut self, number: u32, name: &str) {
        self.change(gone_key(number), |set| set.insert(number));
        self.freed.insert(name_key(name));
    }

    fn change(&mut self, key: String, change: impl FnOnce(&mut Numbers) -> bool) {
        change(self.sets.entry(key.clone()).or_default());
        self.changed.insert(key);
    }

    /// How many messages the changes will need.
    pub(super) fn messages(&self) -> usize {
        self.changed.len() + self.freed.len()
    }

    /// Adds the changes to the batch.
    pub(super) fn store(self, txn: &mut Txn) {
        for (key, set) in self.sets {
            if self.changed.contains(&key) {
                txn.put(&key, set.encode());
            }
        }
        self.freed.iter().for_each(|name| txn.delete(name));
    }
}

fn set_key(group: &str, number: u32) -> String {
    format!("group.{}.{}", escape(group), Numbers::container(number))
}

fn gone_key(number: u32) -> String {
    format!("gone.{}", Numbers::container(number))
}
