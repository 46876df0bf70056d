//! How decisions change the desired state: pure functions over records and groups.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::lane::Lane;
use crate::message::{Action, Command, Recipient};
use crate::plan::{Change, Decision, Plan};
use crate::record::{Agent, Content, Entry, Group, Life};
use crate::stamp::Stamp;
use crate::task::{Task, TaskType};

/// What a decision did to a record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    /// Groups that the agent joined.
    pub joined: Vec<String>,
    /// Groups that the agent left.
    pub left: Vec<String>,
    /// Tasks whose lanes were replaced or removed.
    pub replaced: BTreeSet<String>,
}

/// Applies a decision that commands the agent to its record. `group` knows every group that is joined.
///
/// # Errors
/// The group that was to be joined and is not alive.
pub fn apply<'a>(
    agent: &mut Agent,
    decision: &Decision,
    task: &Task<impl Sized>,
    lane: &Lane,
    group: impl Fn(&str) -> Option<&'a Group>,
) -> Result<Applied, String> {
    let version = Stamp::new(task.order.epoch, agent.version.number + 1);
    let entry = |digest, revision| Entry { version, order: task.order, task: task.id.clone(), digest, revision };
    let mut applied = Applied::default();
    let mut set = |agent: &mut Agent, lane: Lane, entry: Option<Entry>| {
        let before = match entry {
            Some(entry) => agent.lanes.insert(lane, entry),
            None => agent.lanes.remove(&lane),
        };
        applied.replaced.extend(before.map(|e| e.task).filter(|t| *t != task.id));
    };
    match decision {
        Decision::Skipped(_) | Decision::Superseded(_) | Decision::Run => return Ok(applied),
        Decision::Again => {
            let Some(before) = agent.lanes.get(lane).cloned() else { return Ok(applied) };
            set(agent, lane.clone(), Some(entry(before.digest, before.revision)));
        }
        Decision::Set { digest, revision } => {
            set(agent, lane.clone(), Some(entry(digest.clone(), *revision)));
        }
        Decision::Name(name) => {
            set(agent, lane.clone(), Some(entry(None, None)));
            agent.name.clone_from(name);
        }
        Decision::Groups(groups) => {
            let joined: Vec<String> = groups.iter().filter(|g| !agent.in_group(g)).cloned().collect();
            let left: Vec<String> = agent.groups.iter().filter(|g| !groups.contains(g)).cloned().collect();
            set(agent, lane.clone(), Some(entry(None, None)));
            let of_left = |lane: &&Lane| lane.group().is_some_and(|group| left.iter().any(|g| g == group));
            for lane in agent.lanes.keys().filter(of_left).cloned().collect::<Vec<_>>() {
                set(agent, lane, None);
            }
            for name in &joined {
                let group = group(name).filter(|g| g.is_alive()).ok_or_else(|| name.clone())?;
                for (lane, entry) in group.lanes(name, version) {
                    set(agent, lane, Some(entry));
                }
            }
            agent.groups.clone_from(groups);
            applied.joined = joined;
            applied.left = left;
        }
        Decision::Delete => {
            for lane in agent.lanes.keys().cloned().collect::<Vec<_>>() {
                set(agent, lane, None);
            }
            applied.left = std::mem::take(&mut agent.groups);
            agent.gone = true;
        }
    }
    agent.version = version;
    Ok(applied)
}

/// The newer task that has the last word about the lane, if there is one.
pub fn overtaken_by(agent: &Agent, lane: &Lane, order: Stamp) -> Option<String> {
    agent.lanes.get(lane).filter(|entry| entry.order > order).map(|entry| entry.task.clone())
}

/// Applies a change to a group.
///
/// # Errors
/// The newer task that has set this content already.
pub fn change(group: Option<Group>, change: &Change, task: &Task<impl Sized>) -> Result<Group, String> {
    let mut group = group.unwrap_or_else(|| Group::alive(Some(task.id.clone())));
    match change {
        Change::Content { content, digest, revision, disabled, .. } => {
            if let Some(newer) = group.contents.get(content).filter(|c| c.order > task.order) {
                return Err(newer.task.clone());
            }
            if group.life == Life::Deleted {
                group.life = Life::Alive;
                group.by = Some(task.id.clone());
                // Contents of the deleted group must not come back, neither here nor by a command that is late.
                group.contents.retain(|content, _| content.kind() != Lane::CONFIG);
                for content in group.contents.values_mut() {
                    *content = pointer(None, content.revision, false, task);
                }
            }
            let pointer = pointer(digest.clone(), *revision, *disabled, task);
            group.contents.insert(content.clone(), pointer);
        }
        Change::Life { life, .. } => {
            group.life = *life;
            group.by = Some(task.id.clone());
        }
        Change::Index { .. } | Change::Name { .. } => {}
    }
    Ok(group)
}

/// Applies a change to a content of the index that belongs to no group.
///
/// # Errors
/// The newer task that has set it already.
pub fn index(
    before: Option<Content>,
    digest: Option<String>,
    revision: u64,
    task: &Task<impl Sized>,
) -> Result<Content, String> {
    match before.filter(|before| before.order > task.order) {
        Some(newer) => Err(newer.task),
        None => Ok(pointer(digest, revision, false, task)),
    }
}

fn pointer(digest: Option<String>, revision: u64, disabled: bool, task: &Task<impl Sized>) -> Content {
    Content { revision, digest, disabled, order: task.order, task: task.id.clone() }
}

/// The command for an agent as its record says it now.
pub fn command(task: &Task<impl Sized>, plan: &Plan, agent: &Agent, id: &str) -> Command {
    let args = match &plan.lane {
        Some(lane) if lane.kind() == Lane::GROUPS => json!({ "groups": agent.groups }),
        _ => plan.args.clone(),
    };
    Command {
        request_id: task.id.clone(),
        order_id: format!("{}:{id}", task.id),
        source: task.source.clone(),
        user: task.user.clone(),
        target: Recipient { kind: task.kind.fleet().kind().into(), id: id.into() },
        action: action(&plan.action, args),
        order: task.order,
        timeout: task.timeout.as_secs(),
        deliver_until: task.deliver_until,
        sets: plan.lane.as_ref().map(|lane| brought(agent, lane)).unwrap_or_default(),
    }
}

/// What a command for this lane sets: a list of groups brings the contents of all groups along.
fn brought(agent: &Agent, lane: &Lane) -> BTreeMap<Lane, Entry> {
    let along = |other: &Lane| other == lane || (lane.kind() == Lane::GROUPS && other.group().is_some());
    agent.lanes.iter().filter(|(other, _)| along(other)).map(|(lane, entry)| (lane.clone(), entry.clone())).collect()
}

/// The commands that bring a recipient from the versions it has to the state of its record: at most one for each lane.
/// A list of groups that is newer brings the groups' contents along.
pub fn catch_up(
    fleet: Fleet,
    agent: &Agent,
    id: &str,
    has: impl Fn(&Lane) -> Option<Stamp>,
    until: crate::instant::Instant,
) -> Vec<Command> {
    let newer = |lane: &Lane, entry: &Entry| has(lane).is_none_or(|version| version < entry.version);
    let regrouped = agent.lanes.iter().any(|(lane, entry)| lane.kind() == Lane::GROUPS && newer(lane, entry));
    let alone = |lane: &Lane| !(regrouped && lane.group().is_some());
    let due = agent.lanes.iter().filter(|(lane, entry)| newer(lane, entry) && alone(lane));
    due.map(|(lane, entry)| Command {
        request_id: entry.task.clone(),
        order_id: format!("{}:{id}", entry.task),
        source: None,
        user: None,
        target: Recipient { kind: fleet.kind().into(), id: id.into() },
        action: stands_for(agent, lane, entry),
        order: entry.order,
        timeout: timeout(lane).as_secs(),
        deliver_until: until,
        sets: brought(agent, lane),
    })
    .collect()
}

/// The action of a command that stands for the state of a lane.
fn stands_for(agent: &Agent, lane: &Lane, entry: &Entry) -> Action {
    let put = entry.digest.is_some();
    let state =
        json!({ "group": lane.group(), "name": lane.name(), "digest": entry.digest, "revision": entry.revision });
    match lane.kind() {
        Lane::GROUPS => action("set-group", json!({ "groups": agent.groups })),
        Lane::NAME => action("set-name", json!({ "name": agent.name })),
        Lane::CONFIG => action("set-config", state),
        Lane::VERSION => action("upgrade", state),
        Lane::SCA if put => action("set-sca-policy", state),
        Lane::SCA => action("remove-sca-policy", state),
        Lane::SCA_CONTENT => action("update-sca-content", state),
        Lane::ACTIVE_RESPONSE if put => action("set-active-response", state),
        Lane::ACTIVE_RESPONSE => action("remove-active-response", state),
        Lane::RESCAN => action("rescan-vulnerabilities", state),
        Lane::PACKAGE => action("fetch-package", state),
        Lane::CVE_CONTENT => action("update-cve-content", state),
        Lane::RULESET => action("reload-ruleset", state),
        Lane::SERVER_CONFIGURATION => action("reload-configuration", state),
        Lane::RBAC => action("refresh-rbac", state),
        // A recipient refuses names that it does not know, and says so.
        other => action(other, state),
    }
}

/// The kind of lane that a command with this name sets; `set-group` brings the contents of groups along.
pub fn sets(action: &str) -> Option<&'static str> {
    Some(match action {
        "set-group" => Lane::GROUPS,
        "set-name" => Lane::NAME,
        "set-config" => Lane::CONFIG,
        "upgrade" => Lane::VERSION,
        "set-sca-policy" | "remove-sca-policy" => Lane::SCA,
        "update-sca-content" => Lane::SCA_CONTENT,
        "set-active-response" | "remove-active-response" => Lane::ACTIVE_RESPONSE,
        "rescan-vulnerabilities" => Lane::RESCAN,
        "fetch-package" => Lane::PACKAGE,
        "update-cve-content" => Lane::CVE_CONTENT,
        "reload-ruleset" => Lane::RULESET,
        "reload-configuration" => Lane::SERVER_CONFIGURATION,
        "refresh-rbac" => Lane::RBAC,
        _ => return None,
    })
}

/// How long the command of a lane may run when no task says it.
fn timeout(lane: &Lane) -> std::time::Duration {
    let kind = if lane.kind() == Lane::VERSION { TaskType::AgentUpgrade } else { TaskType::GroupAssignment };
    kind.timeout()
}

fn action(name: &str, args: Value) -> Action {
    Action { name: name.into(), args, version: "1".into() }
}
