//! The protocol as a deterministic simulation: the product's own steps, stop, gateway, collector, task-manager, agents'
//! rules and functions, against a broker in memory.
//!
//! A seed decides everything: who dies between which two operations, what is lost, when who is offline, what is asked
//! for. A world runs on one thread, its time passes when everybody waits, and at its end the state must be what
//! DESIGN section 6 promises. A seed that fails is run again with a timeline: `MUSTER_SEED=<n>`.

mod agent;
mod bus;
mod chance;
mod check;
mod disk;
mod link;
mod monitor;
mod net;
mod process;
mod roles;
mod sabotage;
mod settings;
mod truth;
mod world;

pub use self::sabotage::Sabotage;
pub use self::settings::{Kind, Settings};

use self::world::World;

/// What was found in a world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// What is not as it must be; empty when all is.
    pub violations: Vec<String>,
    /// What happened, when it was written down.
    pub timeline: Vec<String>,
}

/// Lives one world. The same settings and the same rule switched off give the same world.
///
/// # Errors
/// When the world cannot be built.
pub fn live(settings: Settings, sabotage: Option<Sabotage>) -> anyhow::Result<Found> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let world = runtime.block_on(World::live(settings, sabotage))?;
    let (violations, timeline) = world.net.found();
    Ok(Found { violations, timeline })
}
