//! `muster task`: submit, show, watch, list and cancel tasks.

use async_nats::Client;
use bytes::Bytes;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use muster_core::summary::Summary;
use muster_core::task::TaskType;
use serde_json::{Map, Value, json};

use super::summary;
use crate::ask::{ask, ask_bytes, control};
use crate::exit::Exit;
use crate::output::{Output, plain, print, print_json};
use crate::submission::{Options, Whom, amended, json_value, read, read_text};
use crate::watch::follow;

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Submit a task; its id is written to stdout
    Submit(Box<Submit>),
    /// Show a task
    Show {
        /// The task's id
        id: String,
    },
    /// Follow a task to its end, and end as it does: 0 succeeded, 3 partial, 4 rejected, 5 expired, 6 cancelled,
    /// 7 failed
    Watch {
        /// The task's id
        id: String,
    },
    /// List tasks, the newest first
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
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

/// A task, written as JSON, put together from flags, or both: flags go before what is written.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// Its type
    #[arg(value_name = "TYPE", value_parser = PossibleValuesParser::new(TaskType::ALL.iter().map(|kind| kind.name())))]
    kind: String,
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
    /// Wait for its end, and end as it does (see: muster task watch --help)
    #[arg(long)]
    wait: bool,
}

fn object(text: &str) -> Result<Value, String> {
    json_value(text).and_then(|v| if v.is_object() { Ok(v) } else { Err("not a JSON object".to_owned()) })
}

impl Submit {
    fn body(&self) -> anyhow::Result<Bytes> {
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
pub(super) fn content(file: Option<&str>, create: bool) -> anyhow::Result<Map<String, Value>> {
    let mut args = Map::new();
    if let Some(file) = file {
        args.insert("content".to_owned(), read_text(file)?.into());
    }
    if create {
        args.insert("create".to_owned(), true.into());
    }
    Ok(args)
}

pub(crate) async fn task(output: Output, task: Task) -> anyhow::Result<Exit> {
    if let Task::Submit(task) = task {
        let body = task.body()?;
        return submit(&control().await?, output, &task.kind, body, task.wait).await;
    }
    let client = control().await?;
    match task {
        Task::Submit(_) => {}
        Task::Show { id } => show(output, &ask(&client, "task.get", &json!({ "id": id })).await?)?,
        Task::Watch { id } => {
            let end = follow(&client, &id, false, |summary| print(&line(output, summary))).await?;
            complain(output, &end);
            return Ok(Exit::of(end.state));
        }
        Task::List { limit } => list(output, &ask(&client, "task.list", &json!({ "limit": limit })).await?)?,
        Task::Cancel { id, reason, user } => {
            let answer = ask(&client, "task.cancel", &json!({ "id": id, "reason": reason, "user": user })).await?;
            match output {
                Output::Table => print(&format!("cancelled {}", plain(&id)))?,
                Output::Json => print_json(&answer)?,
            }
        }
    }
    Ok(Exit::Done)
}

/// Submits a task and writes its id; with `wait` follows it to its end. Then a table's lines go to stderr, so that
/// stdout holds the id alone; as JSON, stdout holds the last summary, which names the id too.
pub(super) async fn submit(
    client: &Client,
    output: Output,
    kind: &str,
    body: Bytes,
    wait: bool,
) -> anyhow::Result<Exit> {
    let answer = ask_bytes(client, &format!("task.submit.{kind}"), body).await?;
    let id = answer["id"].as_str().unwrap_or_default().to_owned();
    match output {
        Output::Table => print(&plain(&id))?,
        Output::Json if wait => {}
        Output::Json => print(&answer.to_string())?,
    }
    if !wait {
        return Ok(Exit::Done);
    }
    let end = follow(client, &id, true, |summary| {
        eprintln!("{}", summary::line(summary));
        Ok(())
    });
    let end = end.await?;
    match output {
        Output::Table => complain(output, &end),
        Output::Json => print(&json!(end).to_string())?,
    }
    Ok(Exit::of(end.state))
}

fn line(output: Output, summary: &Summary) -> String {
    match output {
        Output::Table => summary::line(summary),
        Output::Json => json!(summary).to_string(),
    }
}

/// Why the task ended as it did, for people.
fn complain(output: Output, end: &Summary) {
    if output == Output::Json {
        return;
    }
    end.errors.iter().for_each(|error| eprintln!("error: {}", plain(&error.to_string())));
    let reasons = end.message.iter().chain(end.stop.iter().map(|stop| &stop.reason));
    reasons.filter(|reason| !reason.is_empty()).for_each(|reason| eprintln!("{}", plain(reason)));
}

fn show(output: Output, answer: &Value) -> anyhow::Result<()> {
    match output {
        Output::Table => print(&summary::page(&serde_json::from_value(answer.clone())?)),
        Output::Json => print_json(answer),
    }
}

fn list(output: Output, answer: &Value) -> anyhow::Result<()> {
    if output == Output::Json {
        return print_json(answer);
    }
    let tasks: Vec<Summary> = serde_json::from_value(answer["tasks"].clone())?;
    print(&summary::list(&tasks))?;
    let total = answer["total"].as_u64().unwrap_or_default();
    if total > tasks.len() as u64 {
        eprintln!("{} of {total} tasks; --limit shows more", tasks.len());
    }
    Ok(())
}
