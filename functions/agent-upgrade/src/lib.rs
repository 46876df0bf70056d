//! Brings agents to a version for which the server nodes hold packages.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::names::digest;
use muster_core::package::{Package, Upgrade, platform};
use muster_core::plan::{Body, Decision, Plan};
use muster_core::problem::{Problem, Refusal, refuse};
use muster_core::task::{Task, TaskType};
use muster_core::version;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Upgrades agents, each by the package for its system and processor.
pub struct AgentUpgrade;

/// Which version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Args {
    /// The version that the agents are to have.
    pub version: String,
    /// Agents with a newer version go back to this one.
    #[serde(default)]
    pub force: bool,
}

/// What the command and `decide` need to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Chosen {
    version: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    force: bool,
    /// The digests of the bodies by platform.
    packages: BTreeMap<String, String>,
}

impl Function for AgentUpgrade {
    const TYPE: TaskType = TaskType::AgentUpgrade;
    const SCHEMA: &'static str = include_str!("../../../schemas/agent-upgrade.json");
    const LOOKS_AT_REPORTS: bool = true;
    type Args = Args;

    fn reads(_task: &Task<Args>) -> Vec<Key> {
        vec![Key::Packages]
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let Args { version, force } = &task.args;
        let Some(select) = task.target.clone() else { return refuse("schema", "/target", "a target is required") };
        let lane = Lane::of(Lane::VERSION);
        let (mut packages, mut bodies) = (BTreeMap::new(), Vec::new());
        let held = reads.packages.values().filter_map(|text| serde_json::from_str::<Package>(text).ok());
        for package in held.filter(|p| version::compare(&p.version, version) == Ordering::Equal) {
            let platform = package.platform();
            let upgrade = serde_json::to_string(&Upgrade { package, force: *force })
                .map_err(|e| vec![Problem::new("internal", "/args/version", e.to_string())])?;
            packages.insert(platform, digest(upgrade.as_bytes()));
            bodies.extend(lane.bodies().map(|(bucket, name)| Body::new(bucket, name, upgrade)));
        }
        if packages.is_empty() {
            let message = format!("the server nodes hold no package of version {version}");
            let problem = Problem::new("unknown-version", "/args/version", message);
            return Err(vec![problem.hint("bring it to them first: a task of type agent-package")]);
        }
        let chosen = Chosen { version: version.clone(), force: *force, packages };
        Ok(Plan { bodies, ..Plan::level("upgrade", lane, select, json!(chosen)) })
    }

    fn decide(_task: &Task<Args>, plan: &Plan, agent: &AgentView) -> Decision {
        let Ok(chosen) = Chosen::deserialize(&plan.args) else {
            return Decision::Skipped("the plan cannot be read".into());
        };
        let said = agent.reported;
        if said.version.is_empty() {
            return Decision::Skipped("it has never said which version it has".into());
        }
        match version::compare(&said.version, &chosen.version) {
            Ordering::Equal => return Decision::Skipped("it has this version".into()),
            Ordering::Greater if !chosen.force => return Decision::Skipped("it has a newer version".into()),
            Ordering::Greater | Ordering::Less => {}
        }
        let platform = platform(&said.os, &said.arch);
        match chosen.packages.get(&platform) {
            None => Decision::Skipped(format!("there is no package for {platform}")),
            Some(digest) => Decision::Set { digest: Some(digest.clone()), revision: None },
        }
    }
}
