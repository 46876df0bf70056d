//! The commands, a file each group.

pub(crate) mod agent;
pub(crate) mod fleet;
pub(crate) mod group;
pub(crate) mod provision;
pub(crate) mod run;
mod summary;
pub(crate) mod task;
pub(crate) mod up;
