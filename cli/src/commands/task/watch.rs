//! `muster task watch`, and the wait for a task that was just submitted.

use std::io::IsTerminal as _;
use std::time::Duration;

use async_nats::Client;
use clap::Args;
use muster_core::summary::Summary;
use serde_json::json;

use super::summary;
use crate::exit::{Exit, tell};
use crate::output::{Output, print, say};
use crate::progress::Progress;
use crate::wait::{Waiting, duration};
use crate::watch::follow;

/// Which task, and how long.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The task's id
    id: String,
    /// Wait at most so long, such as 90s or 5m, and end with 8 after it [default: as long as it takes]
    #[arg(long, value_name = "DURATION", value_parser = duration, alias = "timeout")]
    wait_timeout: Option<Duration>,
}

/// Writes each state of the task to stdout, as a line or as a line of JSON. On a terminal there is a bar instead.
pub(super) async fn watch(client: &Client, output: Output, watch: &Watch) -> anyhow::Result<Exit> {
    let bar = output == Output::Table && std::io::stdout().is_terminal() && Progress::is_bar();
    let mut progress = Progress::default();
    let mut last = None;
    let each = |summary: &Summary| {
        last = Some(summary.clone());
        match output {
            Output::Table if bar => {
                progress.show(summary);
                Ok(())
            }
            Output::Table => print(&summary::line(summary)),
            Output::Json => print(&json!(summary).to_string()),
        }
    };
    let end = follow(client, &watch.id, false, watch.wait_timeout.into(), each).await?;
    drop(progress);
    Ok(ended(output, &watch.id, end, last.as_ref()))
}

/// Waits for a task that was just submitted. Progress goes to stderr; as JSON, stdout holds the last summary.
pub(super) async fn wait_for(client: &Client, output: Output, id: &str, waiting: Waiting) -> anyhow::Result<Exit> {
    let mut progress = Progress::default();
    let mut last = None;
    let each = |summary: &Summary| {
        last = Some(summary.clone());
        progress.show(summary);
        Ok(())
    };
    let end = follow(client, id, true, waiting, each).await?;
    drop(progress);
    if let (Output::Json, Some(last)) = (output, &last) {
        print(&json!(last).to_string())?;
    }
    Ok(ended(output, id, end, last.as_ref()))
}

/// Says why the task ended as it did, or how it stands when it has not.
fn ended(output: Output, id: &str, end: Option<Summary>, last: Option<&Summary>) -> Exit {
    let Some(end) = end else {
        let stands = last.map_or_else(|| "it is not admitted yet".to_owned(), summary::line);
        say(&format!(
            "the time to wait is over: {}. The task goes on, and agents that are offline take it when they come back.",
            stands.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
        say(&format!("see: muster task watch {id}, muster task targets {id}"));
        return Exit::TimeOver;
    };
    if output == Output::Table {
        tell(&end.errors, output);
        let reasons = end.message.iter().chain(end.stop.iter().map(|stop| &stop.reason));
        reasons.filter(|reason| !reason.is_empty()).for_each(|reason| say(reason));
    }
    Exit::of(end.state)
}
