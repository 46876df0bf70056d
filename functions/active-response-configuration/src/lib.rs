//! An active response of a group: put or deleted, for every member.

use muster_active_response::Response;
use muster_core::content::{self, State};
use muster_core::function::{AgentView, Function, Key, Reads};
use muster_core::lane::Lane;
use muster_core::names::digest;
use muster_core::plan::{Change, Decision, Plan};
use muster_core::problem::{Problem, Refusal, refuse, under};
use muster_core::task::{Task, TaskType};
use serde::{Deserialize, Serialize};

/// Brings an active response to all members of a group, or takes it from them.
pub struct ActiveResponseConfiguration;

/// What becomes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "lowercase")]
pub enum Args {
    /// It is this from now on.
    Put {
        /// Its name.
        name: String,
        /// Its text, `schemas/active-response.json` as YAML.
        #[serde(default)]
        content: Option<String>,
        /// Or the digest of a text that the content manager has stored.
        #[serde(default)]
        digest: Option<String>,
    },
    /// The group has it no longer.
    Delete {
        /// Its name.
        name: String,
    },
}

impl Args {
    fn name(&self) -> &str {
        match self {
            Self::Put { name, .. } | Self::Delete { name } => name,
        }
    }

    /// The content's lane without the group.
    fn lane(&self) -> Lane {
        Lane::item_of(Lane::ACTIVE_RESPONSE, self.name())
    }
}

impl Function for ActiveResponseConfiguration {
    const TYPE: TaskType = TaskType::ActiveResponseConfiguration;
    const SCHEMA: &'static str = include_str!("../../../schemas/active-response-configuration.json");
    type Args = Args;

    fn reads(task: &Task<Args>) -> Vec<Key> {
        let group = content::group_of(task.target.as_ref());
        let mut keys: Vec<Key> = group.map(|name| Key::Group(name.to_owned())).into_iter().collect();
        if let Args::Put { digest, .. } = &task.args {
            keys.push(Key::Index(task.args.lane()));
            keys.extend(digest.iter().map(|digest| Key::Body(task.args.lane(), digest.clone())));
        }
        keys
    }

    fn plan(task: &Task<Args>, reads: &Reads) -> Result<Plan, Refusal> {
        let (group, there) = content::living_group(task.target.as_ref(), reads)?;
        let lane = task.args.lane();
        let (action, state) = match &task.args {
            Args::Put { name, content, digest } => ("set-active-response", put(name, content, digest, reads)?),
            Args::Delete { name } if !there.contents.contains_key(&lane) => {
                return refuse("unknown-active-response", "/args/name", format!("the group has no '{name}'"));
            }
            Args::Delete { .. } => ("remove-active-response", State::Removed),
        };
        let body = match &state {
            State::Text(text) => Some(digest(text.as_bytes())),
            State::Stored(digest) => Some(digest.clone()),
            _ => None,
        };
        let mut plan = content::of_group(action, group, Some(there), lane.clone(), state);
        // Whoever runs it by its name learns here where it runs.
        let known = reads.index.get(&lane).map(|indexed| &indexed.pointer);
        if body.is_some() && known.is_none_or(|known| known.digest != body) {
            let revision = known.map_or(1, |known| known.revision + 1);
            plan.changes.push(Change::Index { content: lane, digest: body, revision });
        }
        Ok(plan)
    }

    fn decide(_task: &Task<Args>, plan: &Plan, agent: &AgentView) -> Decision {
        content::decide(plan, agent)
    }
}

/// The text or the stored body, checked.
fn put(name: &str, content: &Option<String>, digest: &Option<String>, reads: &Reads) -> Result<State, Refusal> {
    let (state, text, at) = match (content, digest) {
        (Some(text), _) => (State::Text(text.clone()), text, "/args/content"),
        (None, Some(digest)) => {
            let Some(text) = reads.bodies.get(digest) else {
                let why = "the bucket active-response holds no such text";
                let problem = Problem::new("unknown-content", "/args/digest", why);
                return Err(vec![problem.hint(format!("store it there as <name>.{digest} first"))]);
            };
            (State::Stored(digest.clone()), text, "/args/digest")
        }
        (None, None) => return refuse("schema", "/args", "content or digest is required"),
    };
    let response = Response::parse(text).map_err(|problems| under(problems, at))?;
    if response.name() != name {
        let message = format!("it calls itself '{}', and the task '{name}'", response.name());
        return refuse("wrong-name", format!("{at}/name"), message);
    }
    Ok(state)
}
