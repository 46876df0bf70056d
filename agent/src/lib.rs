//! The agent, and the virtual fleet: many agents in one process. Both run the same rules ([`rules`]).

pub mod agent;
pub mod configurator;
pub mod disk;
pub mod fleet;
pub mod jobs;
pub mod link;
pub mod modules;
pub mod rules;
mod yaml;
