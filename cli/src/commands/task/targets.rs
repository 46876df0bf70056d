//! `muster task targets`: what became of each recipient.

use async_nats::Client;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use super::statuses;
use crate::ask::ask;
use crate::exit::Exit;
use crate::output::{Output, print, print_json, say, table, text};

/// How many are asked for at once when all are.
const PAGE: usize = 1000;

/// Which recipients of which task.
#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// The task's id
    id: String,
    /// Only those with this status
    #[arg(long, value_parser = PossibleValuesParser::new(statuses()))]
    status: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "all")]
    limit: usize,
    /// Only those whose number is higher
    #[arg(long, value_name = "NUMBER")]
    after: Option<u32>,
    /// All of them; as JSON, a line each
    #[arg(long)]
    all: bool,
}

pub(super) async fn targets(client: &Client, output: Output, targets: &Targets) -> anyhow::Result<Exit> {
    let mut after = targets.after;
    let mut shown = 0;
    loop {
        let limit = if targets.all { PAGE } else { targets.limit };
        let answer = ask(client, "task.targets", &question(targets, after, limit)).await?;
        let page = answer["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        shown += page.len() as u64;
        match output {
            Output::Table => print(&rows(page, shown > page.len() as u64))?,
            Output::Json if !targets.all => print_json(&answer)?,
            Output::Json if page.is_empty() => {}
            Output::Json => print(&page.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"))?,
        }
        let next = answer["next"].as_u64().and_then(|next| u32::try_from(next).ok());
        match next {
            Some(next) if targets.all && Some(next) > after => after = Some(next),
            Some(next) if !targets.all => {
                let total = text(&answer["total"]);
                say(&format!("{shown} of {total} recipients; --after {next} shows the next ones, --all shows all"));
                return Ok(Exit::Done);
            }
            _ => return Ok(Exit::Done),
        }
    }
}

fn question(targets: &Targets, after: Option<u32>, limit: usize) -> Value {
    let mut question = json!({ "id": targets.id, "limit": limit });
    if let Some(status) = &targets.status {
        question["status"] = json!(status);
    }
    if let Some(after) = after {
        question["after"] = json!(after);
    }
    question
}

/// A page of recipients; only the first has a head.
fn rows(page: &[Value], later: bool) -> String {
    let row = |target: &Value| {
        let why = [&target["reason"], &target["message"]].map(text);
        let why: Vec<String> = why.into_iter().filter(|text| !text.is_empty()).collect();
        [
            text(&target["id"]),
            text(&target["status"]),
            text(&target["code"]),
            why.join(": "),
            text(&target["data"]),
            text(&target["at"]),
        ]
    };
    let written = table(["id", "status", "code", "why", "data", "at"], page.iter().map(row));
    if later { written.lines().skip(1).map(|line| format!("{line}\n")).collect() } else { written }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_and_why() {
        let page = [
            json!({ "id": "001", "status": "failure", "code": 7, "message": "no\nroom", "at": "2026-11-23T20:00:00Z" }),
            json!({ "id": "002", "status": "skipped", "reason": "already in web" }),
        ];
        let written = rows(&page, false);
        assert_eq!(
            written,
            "ID   STATUS   CODE  WHY             DATA  AT\n\
             001  failure  7     no room         -     2026-11-23T20:00:00Z\n\
             002  skipped  -     already in web  -     -\n"
        );
        assert!(rows(&page, true).starts_with("001  failure"));
    }
}
