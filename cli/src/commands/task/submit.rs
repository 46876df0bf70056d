//! `muster task submit`, and the task that `submit` and `plan` put together.

use async_nats::Client;
use bytes::Bytes;
use clap::Args;
use clap::builder::PossibleValuesParser;
use muster_core::task::TaskType;
use serde_json::{Map, Value};

use super::watch::wait_for;
use crate::ask::ask_bytes;
use crate::exit::Exit;
use crate::output::{Output, plain, print};
use crate::submission::{Options, Whom, amended, json_value, read, read_text};
use crate::wait::Waiting;

/// A task, written as JSON, put together from flags, or both: flags go before what is written.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Draft {
    /// Its type
    #[arg(value_name = "TYPE", value_parser = PossibleValuesParser::new(TaskType::ALL.iter().map(|kind| kind.name())))]
    pub(super) kind: String,
    /// The task as JSON, or - for stdin
    #[arg(value_name = "JSON", conflicts_with = "file")]
    task: Option<String>,
    /// The file that holds the task
    #[arg(long, short)]
    file: Option<String>,
    /// Its arguments as a JSON object
    #[arg(long, value_name = "JSON", value_parser = object)]
    args: Option<Value>,
    /// The file that holds the argument 'content', for example a group's configuration; - for stdin
    #[arg(long, value_name = "FILE")]
    content_file: Option<String>,
    /// The argument 'create': make the group if there is none
    #[arg(long, requires = "content_file")]
    create: bool,
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    options: Options,
}

fn object(text: &str) -> Result<Value, String> {
    json_value(text).and_then(|v| if v.is_object() { Ok(v) } else { Err("not a JSON object".to_owned()) })
}

impl Draft {
    /// The task as it is sent.
    pub(super) fn body(&self) -> anyhow::Result<Bytes> {
        let written = match (&self.task, &self.file) {
            (Some(text), _) if text != "-" => text.clone().into_bytes(),
            (Some(file), _) | (None, Some(file)) => read(file)?,
            (None, None) => Vec::new(),
        };
        let mut args = self.args.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        args.extend(content(self.content_file.as_deref(), self.create)?);
        amended(&written, &self.whom, args, &self.options)
    }
}

/// The arguments that a content's file stands for.
pub(in crate::commands) fn content(file: Option<&str>, create: bool) -> anyhow::Result<Map<String, Value>> {
    let mut args = Map::new();
    if let Some(file) = file {
        args.insert("content".to_owned(), read_text(file)?.into());
    }
    if create {
        args.insert("create".to_owned(), true.into());
    }
    Ok(args)
}

/// Submits a task and writes its id, and waits for its end if it is to.
pub(in crate::commands) async fn submit(
    client: &Client,
    output: Output,
    kind: &str,
    body: Bytes,
    waiting: Waiting,
) -> anyhow::Result<Exit> {
    let answer = ask_bytes(client, &format!("task.submit.{kind}"), body).await?;
    submitted(client, output, &answer, waiting).await
}

/// Writes the id in the answer to a submission, and waits for the task's end if it is to. As JSON, stdout holds one
/// document: the answer, or the last summary, which names the id too.
pub(super) async fn submitted(
    client: &Client,
    output: Output,
    answer: &Value,
    waiting: Waiting,
) -> anyhow::Result<Exit> {
    let id = answer["id"].as_str().unwrap_or_default();
    match output {
        Output::Table => print(&plain(id))?,
        Output::Json if waiting != Waiting::Not => {}
        Output::Json => print(&answer.to_string())?,
    }
    if waiting == Waiting::Not { Ok(Exit::Done) } else { wait_for(client, output, id, waiting).await }
}
