//! A new revision of one group's configuration, for every member.

use muster_core::configuration;
use muster_core::content::{self, State};
use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::plan::{Decision, Plan};
use muster_core::problem::{Problem, Refusal, refuse, under};
use muster_core::record::Life;
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};

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

impl Function for GroupConfiguration {
    const TYPE: TaskType = TaskType::GroupConfiguration;
    const SCHEMA: &'static str = include_str!("../../../schemas/group-configuration.json");
    type Args = Args;

    fn reads(task: &Task<Args>) -> Vec<Key> {
        content::group_of(task.target.as_ref()).map(|name| Key::Group(name.to_owned())).into_iter().collect()
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let Some(name) = content::group_of(task.target.as_ref()) else {
            return refuse("wrong-target", "/target", "the target is one group");
        };
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
        configuration::parse(&task.args.content).map_err(|problems| under(problems, "/args/content"))?;
        let text = State::Text(task.args.content.clone());
        Ok(content::of_group("set-config", name, there, Lane::of(Lane::CONFIG), text))
    }

    fn decide(_task: &Task<Args>, plan: &Plan, agent: &AgentView) -> Decision {
        content::decide(plan, agent)
    }
}
