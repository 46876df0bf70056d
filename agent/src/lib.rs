//! The agent, and the virtual fleet: many agents in one process. Both run the same rules ([`rules`]).

pub mod disk;
pub mod modules;
pub mod rules;
