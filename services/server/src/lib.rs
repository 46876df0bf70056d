//! A server node: it runs with what all nodes are to run with (configuration, packages, roles and policies, rules), which tasks
//! change, and serves agents and services with it. It is an agent without a gateway: the same rules and the same ledger,
//! with its record in the bucket `nodes`. Any number run, each with a name and a directory of its own.
//!
//! `MUSTER_NODE_NAME` is its name (the machine's unless said), `MUSTER_NODE_DIR` its directory (`./server` unless said).

mod configuration;
mod engine;
mod guard;
mod node;
mod objects;
mod packages;
mod register;
mod scan;
mod vulnerabilities;

use std::path::PathBuf;

use anyhow::Context as _;
use muster_agent::disk::{DiskLedger, Root};
use muster_core::names::agent_name_fault;
use muster_runtime::Shell;

use crate::node::Node;

/// Runs a node until the shell's shutdown.
///
/// # Errors
/// When its directory cannot be used, another node runs in it, or its name is none or belongs to another node.
pub async fn run(shell: Shell) -> anyhow::Result<()> {
    let directory = std::env::var_os("MUSTER_NODE_DIR").map(PathBuf::from).or_else(|| shell.directory.clone());
    let (directory, name) = (directory.unwrap_or_else(|| "./server".into()), name()?);
    let root = Root::open(&directory).with_context(|| format!("the directory {}", directory.display()))?;
    // The ledger is the lock of the directory: it comes before everything else.
    let (ledger, state) = DiskLedger::open(&root.ledger())?;
    let identity = register::register(&shell, &root, name).await?;
    let service = shell
        .register(
            "keeps what all nodes run with, serves packages, judges by roles, matches packages with vulnerabilities",
        )
        .await?;
    let node = Node::start(&shell, root, identity, ledger, state).await?;
    let end = node.run(&shell).await;
    let _ = service.stop().await;
    end
}

fn name() -> anyhow::Result<String> {
    let name = std::env::var("MUSTER_NODE_NAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned()));
    let name = name.context("the node has no name; set MUSTER_NODE_NAME")?;
    match agent_name_fault(&name) {
        None => Ok(name),
        Some(why) => anyhow::bail!("'{name}' is no name of a node ({why}); set MUSTER_NODE_NAME"),
    }
}
