//! A new revision of the server nodes' configuration.

use muster_core::content::{self, State};
use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::plan::{Decision, Plan};
use muster_core::problem::{Refusal, under};
use muster_core::record::DEFAULT_GROUP;
use muster_core::settings;
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};

/// Changes what all server nodes run with; they put it in force while they run.
pub struct ServerConfiguration;

/// The new configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Args {
    /// YAML as `schemas/server-settings.json` says.
    pub content: String,
}

impl Function for ServerConfiguration {
    const TYPE: TaskType = TaskType::ServerConfiguration;
    const SCHEMA: &'static str = include_str!("../../../schemas/server-configuration.json");
    type Args = Args;

    fn reads(_task: &Task<Args>) -> Vec<Key> {
        vec![Key::Group(DEFAULT_GROUP.into())]
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        settings::parse(&task.args.content).map_err(|problems| under(problems, "/args/content"))?;
        let (group, text) = (reads.groups.get(DEFAULT_GROUP), State::Text(task.args.content.clone()));
        Ok(content::of_nodes("reload-configuration", group, Lane::of(Lane::SERVER_CONFIGURATION), text))
    }

    fn decide(_task: &Task<Args>, plan: &Plan, node: &AgentView) -> Decision {
        content::decide(plan, node)
    }
}
