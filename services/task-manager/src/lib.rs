//! The task-manager: admits every task, keeps its deadline, stops tasks, and answers questions about tasks, groups and
//! agents. Any number of copies can run.

mod admission;
mod api;
mod deadlines;
mod forward;
mod guard;
mod keeper;
mod leftovers;
mod nodes;
mod questions;
mod retry;
mod submit;
mod targets;
mod tasks;

use muster_runtime::Shell;
use muster_runtime::steps::Context;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use questions::stop;

/// Runs the task-manager until the shell's shutdown.
///
/// # Errors
/// When its consumers cannot be read or its endpoints cannot be registered.
pub async fn run(shell: Shell) -> anyhow::Result<()> {
    let service = shell.register("admits, stops and shows tasks").await?;
    api::serve(&shell, &service).await?;
    shell.ready.set(true);
    tend(&shell.context, shell.epoch, &shell.shutdown).await?;
    info!("no more questions are answered");
    let _ = service.stop().await;
    Ok(())
}

/// What it does by itself until the shutdown: admits tasks, keeps their deadlines, raises the floor.
///
/// # Errors
/// When its consumers cannot be read.
pub async fn tend(context: &Context, epoch: u32, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let admission = admission::run(context, epoch, shutdown);
    tokio::try_join!(admission, deadlines::run(context, shutdown), keeper::run(context, epoch, shutdown)).map(drop)
}
