//! A new set of Sigma rules for the engines of the server nodes.

use std::collections::BTreeMap;

use muster_core::content::{self, State};
use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::plan::{Decision, Plan};
use muster_core::problem::{Problem, Refusal, under};
use muster_core::record::DEFAULT_GROUP;
use muster_core::task::{Task, TaskType};
use muster_sigma::Ruleset;
use serde::{Deserialize, Serialize};

/// Brings a ruleset to every server node. It is checked as a whole before anything is stored.
pub struct RulesetUpdate;

/// The ruleset.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Args {
    /// The rules by file name, as YAML.
    Files(BTreeMap<String, String>),
    /// One that the content manager has stored.
    Digest(String),
}

impl Function for RulesetUpdate {
    const TYPE: TaskType = TaskType::RulesetUpdate;
    const SCHEMA: &'static str = include_str!("../../../schemas/ruleset-update.json");
    type Args = Args;

    fn reads(task: &Task<Args>) -> Vec<Key> {
        let group = Key::Group(DEFAULT_GROUP.into());
        match &task.args {
            Args::Files(_) => vec![group],
            Args::Digest(digest) => vec![group, Key::Body(Lane::of(Lane::RULESET), digest.clone())],
        }
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let (state, body, at) = match &task.args {
            Args::Files(files) => {
                let body = serde_json::to_string(files)
                    .map_err(|e| vec![Problem::new("internal", "/args/files", e.to_string())])?;
                (State::Text(body.clone()), body, "/args/files")
            }
            Args::Digest(digest) => {
                let Some(body) = reads.bodies.get(digest) else {
                    let why = "the bucket rulesets holds no such ruleset";
                    let problem = Problem::new("unknown-content", "/args/digest", why);
                    return Err(vec![problem.hint(format!("store it there as ruleset.{digest} first"))]);
                };
                (State::Stored(digest.clone()), body.clone(), "/args/digest")
            }
        };
        Ruleset::load(body.as_bytes()).map_err(|problems| under(problems, at))?;
        let group = reads.groups.get(DEFAULT_GROUP);
        Ok(content::of_nodes("reload-ruleset", group, Lane::of(Lane::RULESET), state))
    }

    fn decide(_task: &Task<Args>, plan: &Plan, node: &AgentView) -> Decision {
        content::decide(plan, node)
    }
}
