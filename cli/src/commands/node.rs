//! `muster node`: list and show server nodes.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::agent::page;
use crate::ask::{ask, control};
use crate::exit::Exit;
use crate::output::{Output, print, print_json, say, table, text};

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List server nodes
    List,
    /// Show what a node should be and what it says it is
    Show {
        /// The node's id
        id: String,
    },
    /// Show which rules of the ruleset in force an event matches
    TestEvent {
        /// The event as JSON
        event: String,
        /// The id of the node that is asked; any of them when there is none
        #[arg(long)]
        node: Option<String>,
    },
}

pub(crate) async fn node(output: Output, node: Node) -> anyhow::Result<Exit> {
    let (subject, question) = match &node {
        Node::List => ("node.list".to_owned(), json!({})),
        Node::Show { id } => ("node.get".to_owned(), json!({ "node": id })),
        Node::TestEvent { event, node } => {
            let event = serde_json::from_str(event).context("the event is no JSON")?;
            (node.as_ref().map_or_else(|| "node.event.test".to_owned(), |id| format!("node.event.test.{id}")), event)
        }
    };
    let answer = ask(&control().await?, &subject, &question).await?;
    match node {
        _ if output == Output::Json => print_json(&answer)?,
        Node::List => {
            let nodes: Vec<&Value> = answer["nodes"].as_array().into_iter().flatten().collect();
            let row = |node: &&Value| ["id", "name", "version", "seen"].map(|field| text(&node[field]));
            print(&table(["id", "name", "version", "seen"], nodes.iter().map(row)))?;
        }
        Node::Show { .. } => print(&page(&answer))?,
        Node::TestEvent { .. } => {
            let matches: Vec<&Value> = answer["matches"].as_array().into_iter().flatten().collect();
            let row = |rule: &&Value| ["level", "title", "file", "id"].map(|field| text(&rule[field]));
            print(&table(["level", "title", "file", "id"], matches.iter().map(row)))?;
            say(&format!("{} rules of revision {} match", matches.len(), text(&answer["revision"])));
        }
    }
    Ok(Exit::Done)
}
