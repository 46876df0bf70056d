//! The virtual fleet: many agents in one process over a few connections. Each runs the agent's own rules
//! ([`crate::rules`]) with a ledger in memory; only what is done with a content is left out: it is read as the agent's
//! modules read it, once for each digest, and not loaded. So virtual agents scan nothing and find nothing.

mod accounts;
mod alarms;
mod arrive;
mod chance;
mod contents;
mod counts;
mod line;
mod listen;
mod settings;
mod speak;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_core::lane::Lane;
use muster_core::message::Action;
use muster_core::record::{agent_id, agent_number};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

pub use self::counts::Count;
pub use self::settings::{Listening, Settings};

use self::alarms::Alarms;
use self::chance::Chance;
use self::contents::Contents;
use self::counts::Counts;
use self::line::Line;
use crate::rules::{Abilities, About, Core, Memory, State};

/// Virtual agents take every command: they have nothing to carry out.
const ABILITIES: Abilities = Abilities {
    lanes: &[Lane::GROUPS, Lane::CONFIG, Lane::NAME, Lane::SCA, Lane::SCA_CONTENT, Lane::ACTIVE_RESPONSE, Lane::RESCAN],
    actions: &[Action::DISCONNECT, Action::RUN_ACTIVE_RESPONSE],
};

/// A running fleet. It ends when the token that it was started with is cancelled.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    settings: Settings,
    about: About,
    chance: Chance,
    lines: Vec<Line>,
    agents: Vec<Virtual>,
    by_number: HashMap<u32, u32>,
    contents: Contents,
    counts: Counts,
    alarms: Alarms,
    stop: CancellationToken,
}

/// One virtual agent. Its number says its id.
struct Virtual {
    number: u32,
    online: AtomicBool,
    mind: Mutex<Mind>,
}

struct Mind {
    core: Core<Memory>,
    /// When it syncs next: alarms for another time are out of date.
    sync: Option<tokio::time::Instant>,
    /// How often it had to sync in a row without an end.
    hurried: u32,
    /// Whether its hello was answered since it came online.
    greeted: bool,
    listener: Option<AbortHandle>,
}

impl Virtual {
    fn id(&self) -> String {
        agent_id(self.number)
    }

    fn mind(&self) -> MutexGuard<'_, Mind> {
        self.mind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }
}

/// Starts a fleet: enrols its agents, or finds those that the same prefix and seed have enrolled before, and says hello
/// for each that is online. It goes on in the background until `stop` is cancelled.
///
/// # Errors
/// When a setting is out of bounds, or an enrolment is refused for good.
pub async fn fleet(settings: Settings, stop: CancellationToken) -> anyhow::Result<Fleet> {
    arrive::arrive(settings, stop).await
}

impl Fleet {
    /// What the agents themselves did, by task.
    pub fn counts(&self) -> BTreeMap<String, Count> {
        self.0.counts.all()
    }

    /// The ids of all its agents.
    pub fn ids(&self) -> Vec<String> {
        self.0.agents.iter().map(Virtual::id).collect()
    }

    /// How many are online.
    pub fn online(&self) -> usize {
        self.0.agents.iter().filter(|agent| agent.is_online()).count()
    }

    /// What the agent with this id remembers; `None` when it is none of this fleet.
    pub fn state(&self, id: &str) -> Option<State> {
        let index = self.0.by_number.get(&agent_number(id)?)?;
        Some(self.0.agents[*index as usize].mind().core.state().clone())
    }

    /// Takes this share of the agents that are online off the network, chosen by the seed; gives their number.
    pub fn go_offline(&self, share: f64) -> usize {
        self.0.go_offline(share)
    }

    /// Brings all agents online, and says hello for those that were not; returns when each hello was answered.
    pub async fn come_online(&self) {
        self.0.clone().come_online().await;
    }
}

/// The digests in force.
fn digests(state: &State) -> BTreeMap<Lane, String> {
    let configurations = state.in_force.configurations.iter();
    configurations.map(|(group, digest)| (Lane::config(group), digest.clone())).collect()
}
