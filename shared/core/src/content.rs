//! Contents: what a task that changes one does to the index, and what each member of the group gets of it. The functions
//! that set a configuration, a policy, a response or a ruleset share this.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::function::{AgentView, Reads};
use crate::lane::Lane;
use crate::names::digest;
use crate::plan::{Body, Change, Decision, Plan};
use crate::problem::{Problem, Refusal, refuse};
use crate::record::{DEFAULT_GROUP, Group, Life};
use crate::target::Target;

/// What a content becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// This text, which is stored with the plan.
    Text(String),
    /// This text, which counts its revisions itself, as a feed does by its offset.
    Numbered(String, u64),
    /// The body with this digest, which is stored already.
    Stored(String),
    /// What it is, but nobody may have it.
    Disabled,
    /// What it is, and everybody may have it again.
    Enabled,
    /// Nothing any more.
    Removed,
    /// It has no body; only its revision counts.
    Revision(u64),
}

/// What the plan's arguments, and so the command's, say of a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pointer {
    /// The group whose content it is; none when it is the same for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// The name of the policy, response or package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What members are to have; nothing when it is removed or disabled, or has no body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    revision: u64,
}

/// The group whose content a task is about; none when its target is anything but one group.
pub fn group_of(target: Option<&Target>) -> Option<&str> {
    match target {
        Some(Target::Groups(names)) if names.len() == 1 => names.first().map(String::as_str),
        _ => None,
    }
}

/// The group whose content a task is about, which must be there.
///
/// # Errors
/// `wrong-target`, `group-deleting` or `unknown-group`.
pub fn living_group<'a>(target: Option<&'a Target>, reads: &'a Reads) -> Result<(&'a str, &'a Group), Refusal> {
    let Some(name) = group_of(target) else { return refuse("wrong-target", "/target", "the target is one group") };
    match reads.groups.get(name) {
        Some(group) if group.life == Life::Alive => Ok((name, group)),
        Some(group) if group.life == Life::Deleting => {
            refuse("group-deleting", "/target/id", format!("the group '{name}' is being deleted"))
        }
        _ => {
            let problem = Problem::new("unknown-group", "/target/id", format!("there is no group '{name}'"));
            Err(vec![problem.hint("see: muster group list")])
        }
    }
}

/// The plan that brings a content of a group (`config`, `sca=<policy>`) to all its members. When the content is as it
/// should be, nothing is changed, and members that have it are skipped.
pub fn of_group(action: &str, name: &str, group: Option<&Group>, content: Lane, state: State) -> Plan {
    plan(action, name, group, content, state, Target::Groups(vec![name.to_owned()]))
}

/// The plan that brings a content to all server nodes.
pub fn of_nodes(action: &str, group: Option<&Group>, content: Lane, state: State) -> Plan {
    plan(action, DEFAULT_GROUP, group, content, state, Target::Servers(Vec::new()))
}

fn plan(action: &str, name: &str, group: Option<&Group>, content: Lane, state: State, select: Target) -> Plan {
    let current = group.and_then(|g| g.contents.get(&content));
    let disabled = state == State::Disabled;
    let counted = match state {
        State::Revision(revision) | State::Numbered(_, revision) => Some(revision),
        _ => None,
    };
    let (text, stored) = match state {
        State::Text(text) | State::Numbered(text, _) => (Some(text), None),
        State::Stored(digest) => (None, Some(digest)),
        State::Disabled | State::Enabled => (None, current.and_then(|c| c.digest.clone())),
        State::Removed | State::Revision(_) => (None, None),
    };
    let digest = text.as_ref().map(|text| digest(text.as_bytes())).or(stored);
    let same = current.filter(|c| {
        let numbered = counted.is_none_or(|revision| c.revision == revision);
        c.digest == digest && c.disabled == disabled && numbered && group.is_some_and(Group::is_alive)
    });
    let next = || counted.unwrap_or_else(|| current.map_or(1, |c| c.revision + 1));
    let revision = same.map_or_else(next, |c| c.revision);
    let lane = Lane::of_content(name, &content);
    let pointer = Pointer {
        group: lane.group().map(str::to_owned),
        name: lane.name().filter(|_| lane.kind() != Lane::CONFIG).map(str::to_owned),
        digest: digest.clone().filter(|_| !disabled),
        revision,
    };
    let mut plan = Plan::level(action, lane.clone(), select, json!(pointer));
    if same.is_none() {
        let at = lane.bodies();
        plan.bodies.extend(at.zip(text).map(|((bucket, name), content)| Body::new(bucket, name, content)));
        plan.changes.push(Change::Content { group: name.to_owned(), content, digest, revision, disabled });
    }
    plan
}

/// What one member gets of the content that the plan names.
pub fn decide(plan: &Plan, agent: &AgentView) -> Decision {
    let (Ok(pointer), Some(lane)) = (Pointer::deserialize(&plan.args), &plan.lane) else {
        return Decision::Skipped("the plan cannot be read".into());
    };
    if let Some(group) = pointer.group.filter(|group| !agent.in_group(group)) {
        // It was a member when the recipients were read, so whoever set its groups has taken it out since.
        let left = |by: &crate::record::Entry| Decision::Superseded(by.task.clone());
        return agent.grouped_by().map_or(Decision::Skipped(format!("not a member of {group}")), left);
    }
    let has = agent.lanes.get(lane);
    let same = match (has, &pointer.digest) {
        (Some(entry), None) if lane.bodies().is_none() => entry.revision >= Some(pointer.revision),
        (Some(entry), digest) => entry.digest == *digest,
        // What it never had need not be removed.
        (None, digest) => digest.is_none() && lane.bodies().is_some(),
    };
    if same {
        return Decision::Skipped("unchanged".into());
    }
    Decision::Set { digest: pointer.digest, revision: Some(pointer.revision) }
}
