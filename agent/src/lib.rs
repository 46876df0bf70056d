//! The agent, and the virtual fleet: many agents in one process. Both run the same rules ([`rules`]).

pub mod agent;
pub mod configurator;
pub mod disk;
pub mod fleet;
pub mod jobs;
pub mod link;
pub mod modules;
pub mod program;
pub mod rules;
pub mod signature;
pub mod upgrade;
mod yaml;

/// The version that the agent says it has: `MUSTER_AGENT_VERSION` when it was compiled, else the crate's.
pub const VERSION: &str = match option_env!("MUSTER_AGENT_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};
