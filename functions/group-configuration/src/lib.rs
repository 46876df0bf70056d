//! A new revision of one group's configuration, for every member.

use muster_core::configuration;
use muster_core::function::{Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::names::digest;
use muster_core::plan::{Body, Change, Decision, Plan};
use muster_core::problem::{Problem, Refusal, refuse};
use muster_core::record::{Agent, Life};
use muster_core::target::Target;
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Changes a group's configuration. Each member gets it with the command and applies it while it runs.
pub struct GroupConfiguration;

/// The new configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Args {
    /// YAML with the agent's sections.
    pub content: String,
    /// Makes a group that is missing or deleted.
    #[serde(default)]
    pub create: bool,
}

/// What the command and `decide` need to know of the new content.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pointer {
    group: String,
    digest: String,
    revision: u64,
}

impl Function for GroupConfiguration {
    const TYPE: TaskType = TaskType::GroupConfiguration;
    const SCHEMA: &'static str = include_str!("../../../schemas/group-configuration.json");
    type Args = Args;

    fn reads(task: &Task<Args>) -> Vec<Key> {
        group(task).map(|name| Key::Group(name.to_owned())).into_iter().collect()
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let Some(name) = group(task) else { return refuse("wrong-target", "/target", "the target is one group") };
        let there = reads.groups.get(name);
        match there.map(|g| g.life) {
            Some(Life::Alive) => {}
            Some(Life::Deleting) => {
                return refuse("group-deleting", "/target/id", format!("the group '{name}' is being deleted"));
            }
            Some(Life::Deleted) | None if task.args.create => {}
            Some(Life::Deleted) | None => {
                let problem = Problem::new("unknown-group", "/target/id", format!("there is no group '{name}'"));
                return Err(vec![problem.hint("to make it, say \"create\": true in args")]);
            }
        }
        configuration::parse(&task.args.content)
            .map_err(|problems| problems.into_iter().map(in_content).collect::<Refusal>())?;
        let digest = digest(task.args.content.as_bytes());
        let current = there.and_then(|g| g.contents.get(Lane::CONFIG));
        let unchanged = current.filter(|c| c.digest == digest && there.is_some_and(|g| g.is_alive()));
        let revision = unchanged.map_or_else(|| current.map_or(1, |c| c.revision + 1), |c| c.revision);
        let change =
            Change::Content { group: name.into(), content: Lane::CONFIG.into(), digest: digest.clone(), revision };
        let body = Body { bucket: "groups".into(), name: name.into(), content: task.args.content.clone() };
        Ok(Plan {
            action: "set-config".into(),
            lane: Some(Lane::config(name)),
            select: Target::Groups(vec![name.to_owned()]),
            args: json!(Pointer { group: name.into(), digest, revision }),
            changes: if unchanged.is_some() { Vec::new() } else { vec![change] },
            finish: Vec::new(),
            on_stop: Vec::new(),
            superseded_by: None,
            bodies: if unchanged.is_some() { Vec::new() } else { vec![body] },
        })
    }

    fn decide(_task: &Task<Args>, plan: &Plan, agent: &Agent) -> Decision {
        let Ok(pointer) = Pointer::deserialize(&plan.args) else {
            return Decision::Skipped("the plan cannot be read".into());
        };
        if !agent.in_group(&pointer.group) {
            // It was a member when the recipients were read, so whoever set its groups has taken it out since.
            let left = |by: &muster_core::record::Entry| Decision::Superseded(by.task.clone());
            return agent.grouped_by().map_or(Decision::Skipped("not a member".into()), left);
        }
        let current = agent.lanes.get(&Lane::config(&pointer.group));
        if current.is_some_and(|entry| entry.digest.as_deref() == Some(&pointer.digest)) {
            return Decision::Skipped("unchanged".into());
        }
        Decision::Content { digest: pointer.digest, revision: pointer.revision }
    }
}

fn group(task: &Task<Args>) -> Option<&str> {
    match &task.target {
        Some(Target::Groups(names)) if names.len() == 1 => names.first().map(String::as_str),
        _ => None,
    }
}

/// A problem of the content as a problem of the task; the line is the one in the YAML.
fn in_content(problem: Problem) -> Problem {
    Problem { pointer: format!("/args/content{}", problem.pointer), ..problem }
}
