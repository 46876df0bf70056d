//! Puts agents into groups, takes them out, replaces their groups; deletes groups.

use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::plan::{Change, Decision, Plan};
use muster_core::problem::{Problem, Refusal, refuse};
use muster_core::record::{DEFAULT_GROUP, Life, MAX_GROUPS};
use muster_core::target::Target;
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Changes which groups agents are in. The command carries the full list, with the contents of these groups.
pub struct GroupAssignment;

/// What to change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case")]
pub enum Args {
    /// Adds groups behind those that an agent is in.
    Assign {
        /// The groups to add.
        groups: Vec<String>,
    },
    /// Takes agents out of groups.
    Unassign {
        /// The groups to leave.
        groups: Vec<String>,
    },
    /// Puts agents into exactly these groups.
    Replace {
        /// The groups, in the order in which their configurations are merged.
        groups: Vec<String>,
    },
    /// Takes all members out of a group, then deletes it.
    DeleteGroup {
        /// The group.
        group: String,
    },
}

impl Args {
    fn groups(&self) -> &[String] {
        match self {
            Self::Assign { groups } | Self::Unassign { groups } | Self::Replace { groups } => groups,
            Self::DeleteGroup { group } => std::slice::from_ref(group),
        }
    }
}

impl Function for GroupAssignment {
    const TYPE: TaskType = TaskType::GroupAssignment;
    const SCHEMA: &'static str = include_str!("../../../schemas/group-assignment.json");
    type Args = Args;

    fn reads(task: &Task<Args>) -> Vec<Key> {
        task.args.groups().iter().cloned().map(Key::Group).collect()
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        if let Args::DeleteGroup { group } = &task.args {
            return delete(task, group, reads);
        }
        let unknown = |(i, group): (usize, &String)| {
            let problem =
                Problem::new("unknown-group", format!("/args/groups/{i}"), format!("there is no group '{group}'"));
            reads.alive(group).is_none().then(|| problem.hint(format!("make it: muster group create {group}")))
        };
        let unknown: Refusal = task.args.groups().iter().enumerate().filter_map(unknown).collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let Some(select) = task.target.clone() else { return refuse("schema", "/target", "a target is required") };
        Ok(plan(select, json!(task.args)))
    }

    fn decide(task: &Task<Args>, _plan: &Plan, agent: &AgentView) -> Decision {
        let mut groups = agent.groups.clone();
        match &task.args {
            Args::Assign { groups: new } => groups.extend(new.iter().filter(|g| !agent.in_group(g)).cloned()),
            Args::Replace { groups: new } => groups.clone_from(new),
            Args::Unassign { .. } | Args::DeleteGroup { .. } => groups.retain(|g| !task.args.groups().contains(g)),
        }
        if groups == agent.groups {
            Decision::Skipped("unchanged".into())
        } else if groups.len() > MAX_GROUPS {
            Decision::Skipped(format!("an agent is in at most {MAX_GROUPS} groups"))
        } else {
            Decision::Groups(groups)
        }
    }
}

fn plan(select: Target, args: serde_json::Value) -> Plan {
    Plan::level("set-group", Lane::of(Lane::GROUPS), select, args)
}

/// A saga: nobody can join from the plan on, pages take the members out, and then the group is deleted.
fn delete(task: &Task<Args>, group: &str, reads: &Reads) -> Result<Plan, Refusal> {
    let select = Target::Groups(vec![group.to_owned()]);
    if task.target.as_ref().is_some_and(|target| *target != select) {
        return refuse("wrong-target", "/target", "to delete a group needs no target, or the group itself");
    }
    if group == DEFAULT_GROUP {
        return refuse("default-group", "/args/group", "the group 'default' cannot be deleted");
    }
    let life = |life| vec![Change::Life { group: group.to_owned(), life }];
    match reads.groups.get(group).map(|g| g.life) {
        Some(Life::Alive) => Ok(Plan {
            changes: life(Life::Deleting),
            finish: life(Life::Deleted),
            on_stop: life(Life::Alive),
            ..plan(select, json!(task.args))
        }),
        Some(Life::Deleting) => {
            refuse("group-deleting", "/args/group", format!("the group '{group}' is being deleted"))
        }
        Some(Life::Deleted) | None => refuse("unknown-group", "/args/group", format!("there is no group '{group}'")),
    }
}
