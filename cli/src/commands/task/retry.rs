//! `muster task retry`: a task for those with which another one did not succeed.

use async_nats::Client;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::submit::submitted;
use crate::ask::ask;
use crate::exit::Exit;
use crate::output::Output;
use crate::wait::Wait;

/// Which task, and with whom again.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The id of the task that is tried again
    task: String,
    /// Those with one of these statuses [default: failure,timeout,expired]
    #[arg(long, value_name = "STATUSES", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(["failure", "timeout", "expired"]))]
    status: Vec<String>,
    /// The id of the new task: repeated with it, it is done once
    #[arg(long = "id", value_name = "ID")]
    new_id: Option<String>,
    /// Who asks
    #[arg(long)]
    user: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

pub(super) async fn retry(client: &Client, output: Output, retry: &Retry) -> anyhow::Result<Exit> {
    let status = (!retry.status.is_empty()).then_some(&retry.status);
    let fields = [
        ("id", Some(json!(retry.task))),
        ("new_id", retry.new_id.as_ref().map(|id| json!(id))),
        ("status", status.map(|status| json!(status))),
        ("user", retry.user.as_ref().map(|user| json!(user))),
    ];
    let question = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let answer = ask(client, "task.retry", &question.collect::<serde_json::Map<_, _>>().into()).await?;
    submitted(client, output, &answer, retry.wait.into()).await
}
