//! Brings a package to every server node, or takes it away.

use muster_core::content::{self, State};
use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::package::Package;
use muster_core::plan::{Decision, Plan};
use muster_core::problem::{Problem, Refusal};
use muster_core::record::DEFAULT_GROUP;
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};

/// Makes every server node fetch a package from the object store, check it, and serve it to agents.
pub struct AgentPackage;

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Args {
    /// Fetch this package.
    Package(Package),
    /// Remove the package with this name.
    Remove(String),
}

impl Args {
    fn name(&self) -> &str {
        match self {
            Self::Package(package) => &package.name,
            Self::Remove(name) => name,
        }
    }
}

impl Function for AgentPackage {
    const TYPE: TaskType = TaskType::AgentPackage;
    const SCHEMA: &'static str = include_str!("../../../schemas/agent-package.json");
    type Args = Args;

    fn reads(_task: &Task<Args>) -> Vec<Key> {
        vec![Key::Group(DEFAULT_GROUP.into())]
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let (group, name) = (reads.groups.get(DEFAULT_GROUP), task.args.name());
        let lane = Lane::item_of(Lane::PACKAGE, name);
        let state = match &task.args {
            Args::Package(package) => State::Text(
                serde_json::to_string(package)
                    .map_err(|e| vec![Problem::new("internal", "/args/package", e.to_string())])?,
            ),
            Args::Remove(_) if group.is_some_and(|g| g.contents.get(&lane).is_some_and(|c| c.in_force().is_some())) => {
                State::Removed
            }
            Args::Remove(_) => {
                let problem =
                    Problem::new("unknown-package", "/args/remove", format!("the nodes hold no package '{name}'"));
                return Err(vec![problem.hint("see: muster node list")]);
            }
        };
        Ok(content::of_nodes("fetch-package", group, lane, state))
    }

    fn decide(_task: &Task<Args>, plan: &Plan, node: &AgentView) -> Decision {
        content::decide(plan, node)
    }
}
