//! The desired state: an agent's record and a group's life and contents, as they lie in the bucket `agents`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::instant::Instant;
use crate::lane::Lane;
use crate::stamp::Stamp;

/// At most this many groups an agent (Wazuh: error 1737).
pub const MAX_GROUPS: usize = 128;
/// At most so many digests that are in force are reported.
pub const MAX_DIGESTS: usize = 512;
/// The group that every agent joins at its enrolment and that cannot be deleted (Wazuh: error 1712).
pub const DEFAULT_GROUP: &str = "default";

/// The id of the agent with this number: the number, at least three digits, as in Wazuh 4.x.
pub fn agent_id(number: u32) -> String {
    format!("{number:03}")
}

/// The number of the agent with this id; `None` when no agent can have it.
pub fn agent_number(id: &str) -> Option<u32> {
    id.parse().ok().filter(|number| agent_id(*number) == id)
}

/// The whole desired state of one agent or server node: `agents/id.<agent>`, `nodes/id.<node>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Given once, at enrolment, and never again.
    pub number: u32,
    /// The name, unique among the agents that are not gone.
    pub name: String,
    /// The groups in the order in which their configurations are merged.
    pub groups: Vec<String>,
    /// The version of the last change; it rises with each change of any lane, so that a lane which is removed and
    /// comes back is newer than it ever was.
    pub version: Stamp,
    /// The level lanes that were set.
    pub lanes: BTreeMap<Lane, Entry>,
    /// The public key of its identity.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub nkey: String,
    /// When it was enrolled.
    pub enrolled: Instant,
    /// Deleted: the record stays so that neither id nor number is used again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// The task that an enrolment's list of groups names; no task can have this id's order, 0-0.
const ENROLMENT: &str = "enrolment";

impl Agent {
    /// The record of a new recipient: it joins the group `default`, if that can have members, with what is in force
    /// there.
    pub fn enrolled(number: u32, name: String, nkey: String, default: &Group, epoch: u32, now: Instant) -> Self {
        let version = Stamp::new(epoch, 1);
        let groups: Vec<String> = default.is_alive().then(|| DEFAULT_GROUP.to_owned()).into_iter().collect();
        let listed =
            Entry { version, order: Stamp::default(), task: ENROLMENT.to_owned(), digest: None, revision: None };
        let contents = default.lanes(DEFAULT_GROUP, version).filter(|_| default.is_alive());
        let lanes = contents.chain([(Lane::of(Lane::GROUPS), listed)]).collect();
        Self { number, name, groups, version, lanes, nkey, enrolled: now, gone: false }
    }

    /// Whether it is in the group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The task that last changed the list of groups.
    pub fn grouped_by(&self) -> Option<&Entry> {
        self.lanes.get(&Lane::of(Lane::GROUPS))
    }
}

/// What is in force in one lane of a recipient, and which task said so. It travels in commands, so an agent takes it
/// with fields that it does not know yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The record's version when the lane was set.
    pub version: Stamp,
    /// The order of the task that set it.
    pub order: Stamp,
    /// The task that set it.
    pub task: String,
    /// The digest of the content, for lanes that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The content's revision, counted in its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// Whether a group can have members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// It can.
    Alive,
    /// Its members are being taken out; nobody can join.
    Deleting,
    /// It is gone; it can be made again.
    Deleted,
}

/// A group: `agents/gmeta.<group>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Whether it can have members.
    pub life: Life,
    /// The task that last changed its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Its contents by the lane without the group: `config`, `sca=<policy>`, `ruleset`.
    #[serde(default)]
    pub contents: BTreeMap<Lane, Content>,
}

impl Group {
    /// A new group without contents.
    pub fn alive(by: Option<String>) -> Self {
        Self { life: Life::Alive, by, contents: BTreeMap::new() }
    }

    /// Whether it can have members.
    pub fn is_alive(&self) -> bool {
        self.life == Life::Alive
    }

    /// The lanes that a member gets when it joins, at this version of its record.
    pub fn lanes<'a>(&'a self, name: &'a str, version: Stamp) -> impl Iterator<Item = (Lane, Entry)> + 'a {
        // What was removed, or is disabled, is a state like any other: without it a command of the time before, which comes
        // late to an agent that has left and joined again, would bring the content back. A configuration is never removed.
        let stated =
            |(content, pointer): &(&Lane, &Content)| content.kind() != Lane::CONFIG || pointer.in_force().is_some();
        let stated = self.contents.iter().filter(stated);
        stated.map(move |(content, pointer)| (Lane::of_content(name, content), pointer.entry(version)))
    }
}

/// A pointer from a group, or from the index, to a stored body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Rises with each change, also across deletion.
    pub revision: u64,
    /// The SHA-256 of the body in hex; none when it was removed, and for contents without a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Recipients must not have it, until it is enabled again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// The order of the task that set it.
    pub order: Stamp,
    /// The task that set it.
    pub task: String,
}

impl Content {
    /// The digest that members are to have.
    pub fn in_force(&self) -> Option<&str> {
        self.digest.as_deref().filter(|_| !self.disabled)
    }

    /// The lane entry of a member for this content.
    pub fn entry(&self, version: Stamp) -> Entry {
        Entry {
            version,
            order: self.order,
            task: self.task.clone(),
            digest: self.in_force().map(str::to_owned),
            revision: Some(self.revision),
        }
    }
}

/// What an agent last said of itself: `reported/<agent>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// The version of the agent's program.
    #[serde(default)]
    pub version: String,
    /// The system it runs on, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// The processor it runs on, such as `x86_64`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// Labels of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The digests in force, by lane, as the modules loaded them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<Lane, String>,
    /// When it was last heard, coarsely.
    #[serde(default)]
    pub seen: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number() {
        assert_eq!((agent_id(7), agent_id(1234)), ("007".into(), "1234".into()));
        assert_eq!((agent_number("007"), agent_number("1234")), (Some(7), Some(1234)));
        assert!(["7", "0007", "", "+07", "abc", "99999999999"].iter().all(|id| agent_number(id).is_none()));
    }
}
