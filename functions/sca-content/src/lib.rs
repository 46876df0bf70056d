//! The SCA content that the content manager has stored, for agents.

use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::names;
use muster_core::plan::{Decision, Plan};
use muster_core::problem::{Problem, Refusal, refuse, under};
use muster_core::sca::Manifest;
use muster_core::task::{Task, TaskType};
use muster_sca::{MAX_PROBLEMS, Policy};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Brings a content to agents. It is checked as a whole: its manifest and each of its policies.
pub struct ScaContent;

/// Which content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Args {
    /// Its version, as its manifest says it.
    pub version: String,
    /// The digest of its manifest.
    pub digest: String,
}

impl Function for ScaContent {
    const TYPE: TaskType = TaskType::ScaContent;
    const SCHEMA: &'static str = include_str!("../../../schemas/sca-content.json");
    type Args = Args;

    fn reads(task: &Task<Args>) -> Vec<Key> {
        vec![Key::Manifest(Lane::of(Lane::SCA_CONTENT), task.args.digest.clone())]
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let Args { version, digest } = &task.args;
        let Some(select) = task.target.clone() else { return refuse("schema", "/target", "a target is required") };
        let lane = Lane::of(Lane::SCA_CONTENT);
        let text = stored(reads, &lane, digest, "")?;
        let manifest = Manifest::read(text).map_err(|problems| within("", problems))?;
        if manifest.version != *version {
            let why = format!("the content {digest} is of version '{}'", manifest.version);
            return refuse("wrong-version", "/args/version", why);
        }
        let mut problems = Refusal::new();
        for (lane, digest) in manifest.bodies() {
            let pointer = format!("/policies/{}", lane.name().unwrap_or_default());
            let checked = stored(reads, &lane, digest, &pointer)
                .and_then(|body| Policy::parse(body).map_err(|problems| within(&pointer, problems)));
            problems.extend(checked.err().unwrap_or_default());
        }
        if problems.is_empty() {
            return Ok(Plan::level(
                "update-sca-content",
                lane,
                select,
                json!({ "version": version, "digest": digest }),
            ));
        }
        problems.truncate(MAX_PROBLEMS);
        Err(problems)
    }

    fn decide(task: &Task<Args>, plan: &Plan, agent: &AgentView) -> Decision {
        let digest = Some(task.args.digest.clone());
        let has = plan.lane.as_ref().and_then(|lane| agent.lanes.get(lane));
        if has.is_some_and(|entry| entry.digest == digest) {
            return Decision::Skipped("unchanged".into());
        }
        Decision::Set { digest, revision: None }
    }
}

/// The body of a lane, which must be there and be what its digest says; `pointer` leads to it in the content.
fn stored<'a>(reads: &'a Reads, lane: &Lane, digest: &str, pointer: &str) -> Result<&'a str, Refusal> {
    let (bucket, key) = lane.body_at(digest).unwrap_or_default();
    let Some(body) = reads.bodies.get(digest) else {
        let problem = Problem::new("unknown-content", "", format!("the bucket {bucket} holds no {key}"));
        return Err(within(pointer, vec![problem.hint("store it there first")]));
    };
    if names::digest(body.as_bytes()) != digest {
        let problem =
            Problem::new("wrong-digest", "", format!("{key} in the bucket {bucket} is not what its digest says"));
        return Err(within(pointer, vec![problem]));
    }
    Ok(body)
}

/// Problems of a part of the content as problems of the task.
fn within(pointer: &str, problems: Vec<Problem>) -> Refusal {
    under(under(problems, pointer), "/args/digest")
}
