//! `muster task`: submit, plan, show, watch, list, retry and cancel tasks.

mod list;
mod plan;
mod retry;
mod submit;
mod targets;
mod watch;

use clap::Subcommand;
use muster_core::status::{State, Status};
use serde_json::{Value, json};

use self::submit::Draft;
pub(super) use self::submit::{content, submit};
use super::summary;
use crate::ask::{ask, control};
use crate::exit::Exit;
use crate::output::{Output, plain, print, print_json};
use crate::wait::Wait;

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Submit a task; its id is written to stdout
    Submit {
        #[command(flatten)]
        draft: Box<Draft>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Show what a task would do: exact counts by decision and reason. Nothing is written
    Plan {
        #[command(flatten)]
        draft: Box<Draft>,
    },
    /// Show a task
    Show {
        /// The task's id
        id: String,
    },
    /// Follow a task to its end, and end as it does: 0 succeeded, 3 partial, 4 rejected, 5 expired, 6 cancelled,
    /// 7 failed; 8 when the time to wait is over before
    Watch(watch::Watch),
    /// List tasks, the newest first
    List(list::List),
    /// List a task's recipients: what became of each, and what they said
    Targets(targets::Targets),
    /// Make a task for those with which another one failed, timed out or expired; its id is written to stdout
    Retry(retry::Retry),
    /// Cancel a task: what was decided goes on, the rest is not begun
    Cancel {
        /// The task's id
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        /// Who cancels it
        #[arg(long)]
        user: Option<String>,
    },
}

/// The names of all states of a task.
const STATES: [&str; 9] = [
    State::Pending.name(),
    State::Running.name(),
    State::Stopping.name(),
    State::Rejected.name(),
    State::Failed.name(),
    State::Cancelled.name(),
    State::Succeeded.name(),
    State::Expired.name(),
    State::Partial.name(),
];

/// The names of all statuses of a recipient.
fn statuses() -> Vec<&'static str> {
    Status::ALL.iter().map(|status| status.name()).collect()
}

pub(crate) async fn task(output: Output, task: Task) -> anyhow::Result<Exit> {
    match task {
        Task::Submit { draft, wait } => {
            let body = draft.body()?;
            submit(&control().await?, output, &draft.kind, body, wait.into()).await
        }
        Task::Plan { draft } => {
            let body = draft.body()?;
            plan::plan(&control().await?, output, &draft.kind, body).await
        }
        Task::Show { id } => show(output, &ask(&control().await?, "task.get", &json!({ "id": id })).await?),
        Task::Watch(watch) => watch::watch(&control().await?, output, &watch).await,
        Task::List(list) => list::list(&control().await?, output, &list).await,
        Task::Targets(targets) => targets::targets(&control().await?, output, &targets).await,
        Task::Retry(retry) => retry::retry(&control().await?, output, &retry).await,
        Task::Cancel { id, reason, user } => {
            let question = json!({ "id": id, "reason": reason, "user": user });
            let answer = ask(&control().await?, "task.cancel", &question).await?;
            match output {
                Output::Table => print(&format!("cancelled {}", plain(&id)))?,
                Output::Json => print_json(&answer)?,
            }
            Ok(Exit::Done)
        }
    }
}

fn show(output: Output, answer: &Value) -> anyhow::Result<Exit> {
    match output {
        Output::Table => print(&summary::page(&serde_json::from_value(answer.clone())?))?,
        Output::Json => print_json(answer)?,
    }
    Ok(Exit::Done)
}
