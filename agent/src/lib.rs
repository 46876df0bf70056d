//! The agent, and the virtual fleet: many agents in one process. Both run the same rules ([`rules`]).

pub mod modules;
pub mod rules;
pub mod modules;
