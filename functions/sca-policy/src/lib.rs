//! An SCA policy of one group, for every member.

use muster_core::content::{self, State};
use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::plan::{Decision, Plan};
use muster_core::problem::{Problem, Refusal, refuse, under};
use muster_core::record::{Content, Group};
use muster_core::sca::MAX_POLICIES;
use muster_core::task::{Task, TaskType};
use muster_sca::Policy;
use serde::{Deserialize, Serialize};

/// Puts, deletes, disables and enables policies. A policy is read as a whole before it is stored.
pub struct ScaPolicy;

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "lowercase")]
pub enum Args {
    /// The group has this policy, be it new or changed; one that was disabled is enabled with it.
    Put {
        /// Its name in the group.
        name: String,
        /// Its YAML.
        content: String,
    },
    /// The group has it no more.
    Delete {
        /// Its name in the group.
        name: String,
    },
    /// Members have it again.
    Enable {
        /// Its name in the group.
        name: String,
    },
    /// The group keeps it, and no member has it.
    Disable {
        /// Its name in the group.
        name: String,
    },
}

impl Args {
    fn name(&self) -> &str {
        match self {
            Self::Put { name, .. } | Self::Delete { name } | Self::Enable { name } | Self::Disable { name } => name,
        }
    }
}

impl Function for ScaPolicy {
    const TYPE: TaskType = TaskType::ScaPolicy;
    const SCHEMA: &'static str = include_str!("../../../schemas/sca-policy.json");
    type Args = Args;

    fn reads(task: &Task<Args>) -> Vec<Key> {
        content::group_of(task.target.as_ref()).map(|name| Key::Group(name.to_owned())).into_iter().collect()
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let (name, group) = content::living_group(task.target.as_ref(), reads)?;
        let lane = Lane::item_of(Lane::SCA, task.args.name());
        let known = group.contents.get(&lane).is_some_and(holds);
        let state = match &task.args {
            Args::Put { content, .. } => {
                if !known && policies(group) >= MAX_POLICIES {
                    let why = format!("the group '{name}' has {MAX_POLICIES} policies, and may not have more");
                    return refuse("too-many-policies", "/target/id", why);
                }
                Policy::parse(content).map_err(|problems| under(problems, "/args/content"))?;
                State::Text(content.clone())
            }
            _ if !known => return unknown(name, task.args.name()),
            Args::Delete { .. } => State::Removed,
            Args::Enable { .. } => State::Enabled,
            Args::Disable { .. } => State::Disabled,
        };
        let puts = matches!(state, State::Text(_) | State::Enabled);
        let action = if puts { "set-sca-policy" } else { "remove-sca-policy" };
        Ok(content::of_group(action, name, Some(group), lane, state))
    }

    fn decide(_task: &Task<Args>, plan: &Plan, agent: &AgentView) -> Decision {
        content::decide(plan, agent)
    }
}

/// Whether there is a policy, be it disabled: what was deleted leaves its revision behind.
const fn holds(pointer: &Content) -> bool {
    pointer.digest.is_some()
}

fn policies(group: &Group) -> usize {
    group.contents.iter().filter(|(lane, pointer)| lane.kind() == Lane::SCA && holds(pointer)).count()
}

fn unknown<T>(group: &str, name: &str) -> Result<T, Refusal> {
    let problem = Problem::new("unknown-policy", "/args/name", format!("the group '{group}' has no policy '{name}'"));
    Err(vec![problem.hint(format!("see: muster group show {group}"))])
}
