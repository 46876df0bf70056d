//! How decisions change the desired state: pure functions over records and groups.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::lane::Lane;
use crate::message::{Action, Command, Recipient};
use crate::plan::{Change, Decision, Plan};
use crate::record::{Agent, Content, Entry, Group, Life, content_lane};
use crate::stamp::Stamp;
use crate::task::Task;

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
        Decision::Content { digest, revision } => {
            set(agent, lane.clone(), Some(entry(Some(digest.clone()), Some(*revision))));
        }
        Decision::Groups(groups) => {
            let joined: Vec<String> = groups.iter().filter(|g| !agent.in_group(g)).cloned().collect();
            let left: Vec<String> = agent.groups.iter().filter(|g| !groups.contains(g)).cloned().collect();
            set(agent, lane.clone(), Some(entry(None, None)));
            for name in &left {
                set(agent, Lane::config(name), None);
            }
            for name in &joined {
                let group = group(name).filter(|g| g.is_alive()).ok_or_else(|| name.clone())?;
                for (content, pointer) in &group.contents {
                    set(agent, content_lane(name, content), Some(pointer.entry(version)));
                }
            }
            agent.groups.clone_from(groups);
            applied.joined = joined;
            applied.left = left;
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
        Change::Content { content, digest, revision, .. } => {
            if let Some(newer) = group.contents.get(content).filter(|c| c.order > task.order) {
                return Err(newer.task.clone());
            }
            if group.life == Life::Deleted {
                group.life = Life::Alive;
                group.by = Some(task.id.clone());
                // Contents of the deleted group must not come back; their revisions go on rising in the new ones.
                group.contents.clear();
            }
            let pointer =
                Content { revision: *revision, digest: digest.clone(), order: task.order, task: task.id.clone() };
            group.contents.insert(content.clone(), pointer);
        }
        Change::Life { life, .. } => {
            group.life = *life;
            group.by = Some(task.id.clone());
        }
    }
    Ok(group)
}

/// The command for an agent as its record says it now.
pub fn command(task: &Task<impl Sized>, plan: &Plan, agent: &Agent, id: &str) -> Command {
    let sets = match &plan.lane {
        None => Default::default(),
        Some(lane) if lane.kind() == Lane::GROUPS => agent.lanes.clone(),
        Some(lane) => agent.lanes.get(lane).map(|entry| (lane.clone(), entry.clone())).into_iter().collect(),
    };
    let args = match &plan.lane {
        Some(lane) if lane.kind() == Lane::GROUPS => json!({ "groups": agent.groups }),
        _ => plan.args.clone(),
    };
    Command {
        request_id: task.id.clone(),
        order_id: format!("{}:{id}", task.id),
        source: task.source.clone(),
        user: task.user.clone(),
        target: Recipient { kind: "agent".into(), id: id.into() },
        action: action(&plan.action, args),
        order: task.order,
        timeout: task.timeout.as_secs(),
        deliver_until: task.deliver_until,
        sets,
    }
}

/// The commands that bring an agent from the versions it has to the state of its record: at most one for each lane.
/// A list of groups that is newer brings the groups' contents along.
pub fn catch_up(
    agent: &Agent,
    id: &str,
    has: impl Fn(&Lane) -> Option<Stamp>,
    until: crate::instant::Instant,
) -> Vec<Command> {
    let newer = |lane: &Lane, entry: &Entry| has(lane).is_none_or(|version| version < entry.version);
    let groups = Lane::of(Lane::GROUPS);
    let of = |lane: &Lane, entry: &Entry, name: &str, args: Value, sets| Command {
        request_id: entry.task.clone(),
        order_id: format!("{}:{id}", entry.task),
        source: None,
        user: None,
        target: Recipient { kind: "agent".into(), id: id.into() },
        action: action(name, args),
        order: entry.order,
        timeout: crate::task::TaskType::GroupAssignment.timeout().as_secs(),
        deliver_until: until,
        sets: if *lane == groups { sets } else { [(lane.clone(), entry.clone())].into() },
    };
    if let Some(entry) = agent.lanes.get(&groups).filter(|entry| newer(&groups, entry)) {
        return vec![of(&groups, entry, "set-group", json!({ "groups": agent.groups }), agent.lanes.clone())];
    }
    agent
        .lanes
        .iter()
        .filter(|(lane, entry)| newer(lane, entry))
        .map(|(lane, entry)| {
            let args = json!({ "group": lane.item(), "digest": entry.digest, "revision": entry.revision });
            of(lane, entry, "set-config", args, Default::default())
        })
        .collect()
}

fn action(name: &str, args: Value) -> Action {
    Action { name: name.into(), args, version: "1".into() }
}
