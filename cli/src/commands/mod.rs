//! The commands, a file each group.

pub(crate) mod agent;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod fleet;
pub(crate) mod group;
pub(crate) mod keys;
pub(crate) mod node;
pub(crate) mod provision;
pub(crate) mod run;
mod sca;
pub(crate) mod summary;
pub(crate) mod task;
pub(crate) mod token;
pub(crate) mod up;
mod vulnerabilities;
pub(crate) mod why;
