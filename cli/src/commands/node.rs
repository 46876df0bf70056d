//! `muster node`: list and show server nodes.

use clap::Subcommand;
use serde_json::{Value, json};

use super::agent::page;
use crate::ask::{ask, control};
use crate::exit::Exit;
use crate::output::{Output, print, print_json, table, text};

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List server nodes
    List,
    /// Show what a node should be and what it says it is
    Show {
        /// The node's id
        id: String,
    },
}

pub(crate) async fn node(output: Output, node: Node) -> anyhow::Result<Exit> {
    let (subject, question) = match &node {
        Node::List => ("node.list", json!({})),
        Node::Show { id } => ("node.get", json!({ "node": id })),
    };
    let answer = ask(&control().await?, subject, &question).await?;
    match node {
        _ if output == Output::Json => print_json(&answer)?,
        Node::List => {
            let nodes: Vec<&Value> = answer["nodes"].as_array().into_iter().flatten().collect();
            let row = |node: &&Value| ["id", "name", "version", "seen"].map(|field| text(&node[field]));
            print(&table(["id", "name", "version", "seen"], nodes.iter().map(row)))?;
        }
        Node::Show { .. } => print(&page(&answer))?,
    }
    Ok(Exit::Done)
}
