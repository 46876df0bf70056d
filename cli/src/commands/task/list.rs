//! `muster task list`: tasks, the newest first.

use async_nats::Client;
use clap::Args;
use clap::builder::PossibleValuesParser;
use muster_core::stamp::Stamp;
use muster_core::summary::Summary;
use serde_json::{Map, Value, json};

use super::{STATES, summary};
use crate::ask::ask;
use crate::exit::Exit;
use crate::output::{Output, print, print_json, say, text};

/// Which tasks.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only those in this state
    #[arg(long, value_parser = PossibleValuesParser::new(STATES))]
    state: Option<String>,
    /// Only those of this user
    #[arg(long)]
    user: Option<String>,
    /// Only those of this system
    #[arg(long)]
    source: Option<String>,
    /// Only those since then: a time, or a duration such as 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Only those before this order, such as 0-17: the next page
    #[arg(long, value_name = "ORDER")]
    before: Option<Stamp>,
}

impl List {
    fn question(&self) -> Value {
        let texts = [
            ("type", &self.kind),
            ("state", &self.state),
            ("user", &self.user),
            ("source", &self.source),
            ("since", &self.since),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?))));
        let mut question: Map<String, Value> = texts.collect();
        question.insert("limit".to_owned(), json!(self.limit));
        question.extend(self.before.map(|before| ("before".to_owned(), json!(before))));
        question.into()
    }
}

pub(super) async fn list(client: &Client, output: Output, list: &List) -> anyhow::Result<Exit> {
    let answer = ask(client, "task.list", &list.question()).await?;
    if output == Output::Json {
        return print_json(&answer).map(|()| Exit::Done);
    }
    let tasks: Vec<Summary> = serde_json::from_value(answer["tasks"].clone())?;
    print(&summary::list(&tasks))?;
    if let Some(next) = answer["next"].as_str() {
        say(&format!("{} of {} tasks; --before {next} shows the next ones", tasks.len(), text(&answer["total"])));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::commands::task::Task;

    fn asked(line: &str) -> Value {
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Task(Task::List(list)) = cli.command else { panic!() };
        list.question()
    }

    #[test]
    fn only_what_is_said_is_asked() {
        assert_eq!(asked("muster task list"), json!({ "limit": 50 }));
        assert_eq!(
            asked(
                "muster task list --type agent-name --state failed --user a --source b --since 2h --limit 3 --before 0-17"
            ),
            json!({ "type": "agent-name", "state": "failed", "user": "a", "source": "b", "since": "2h", "limit": 3, "before": "0-17" })
        );
    }

    #[test]
    fn all_states_can_be_asked_for() {
        for state in STATES {
            assert!(serde_json::from_value::<muster_core::status::State>(json!(state)).is_ok(), "{state}");
        }
    }
}
