//! The task-manager: admits every task, keeps its deadline, stops tasks, and answers questions about tasks, groups and
//! agents. Any number of copies can run.

mod admission;
mod api;
mod deadlines;
mod forward;
mod guard;
mod keeper;
mod nodes;
mod questions;
mod retry;
mod submit;
mod targets;
mod tasks;

use muster_runtime::Shell;
use tracing::info;

/// Runs the task-manager until the shell's shutdown.
///
/// # Errors
/// When its consumers cannot be read or its endpoints cannot be registered.
pub async fn run(shell: Shell) -> anyhow::Result<()> {
    let service = shell.register("admits, stops and shows tasks").await?;
    api::serve(&shell, &service).await?;
    shell.ready.set(true);
    tokio::try_join!(admission::run(&shell), deadlines::run(&shell), keeper::run(&shell))?;
    info!("no more questions are answered");
    let _ = service.stop().await;
    Ok(())
}
