//! The list of functions: one line each.

use std::future::Future;
use std::pin::Pin;

use muster_core::function::Function;
use muster_core::task::TaskType;
use muster_runtime::{Definition, Shell};

/// A function that can be run and asked about its schema.
pub struct Entry {
    /// Its type.
    pub kind: TaskType,
    /// Its schema, compiled.
    pub define: fn() -> anyhow::Result<Definition>,
    /// Runs it until the shell's shutdown.
    pub run: fn(Shell) -> Running,
}

/// A function at work.
pub type Running = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

const fn entry<F: Function>() -> Entry {
    Entry { kind: F::TYPE, define: Definition::of::<F>, run: |shell| Box::pin(muster_runtime::function::<F>(shell)) }
}

/// All functions, in the order of their names.
pub const ALL: &[Entry] = &[
    entry::<active_response_configuration::ActiveResponseConfiguration>(),
    entry::<active_response_execution::ActiveResponseExecution>(),
    entry::<agent_deletion::AgentDeletion>(),
    entry::<agent_name::AgentName>(),
    entry::<agent_package::AgentPackage>(),
    entry::<agent_upgrade::AgentUpgrade>(),
    entry::<cve_content::CveContent>(),
    entry::<group_assignment::GroupAssignment>(),
    entry::<group_configuration::GroupConfiguration>(),
    entry::<rbac_change::RbacChange>(),
    entry::<ruleset_update::RulesetUpdate>(),
    entry::<sca_content::ScaContent>(),
    entry::<sca_policy::ScaPolicy>(),
    entry::<server_configuration::ServerConfiguration>(),
    entry::<vulnerability_rescan::VulnerabilityRescan>(),
];
