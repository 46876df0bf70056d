//! Server nodes read users, roles and policies again.

use muster_core::content::{self, State};
use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::plan::{Decision, Plan};
use muster_core::problem::Refusal;
use muster_core::rbac::{self, BUCKET};
use muster_core::record::DEFAULT_GROUP;
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};

/// Makes every server node's cache of roles and policies stand at what the bucket `rbac` holds.
pub struct RbacChange;

/// Nothing: what has changed is in the bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Args {}

impl Function for RbacChange {
    const TYPE: TaskType = TaskType::RbacChange;
    const SCHEMA: &'static str = include_str!("../../../schemas/rbac-change.json");
    type Args = Args;

    fn reads(_task: &Task<Args>) -> Vec<Key> {
        vec![Key::Group(DEFAULT_GROUP.into()), Key::Documents(BUCKET.into())]
    }

    fn plan(_task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let documents = reads.documents.documents.iter().map(|(key, text)| (key.as_str(), text.as_str()));
        rbac::Rules::read(documents)?;
        let (group, state) = (reads.groups.get(DEFAULT_GROUP), State::Revision(reads.documents.revision));
        Ok(content::of_nodes("refresh-rbac", group, Lane::of(Lane::RBAC), state))
    }

    fn decide(_task: &Task<Args>, plan: &Plan, node: &AgentView) -> Decision {
        content::decide(plan, node)
    }
}
