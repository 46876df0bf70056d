//! `muster agent`: run an agent; list and show agents.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use muster_agent::agent::{self, Settings, TokenSource};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{sca, vulnerabilities};
use crate::ask::{ask, control};
use crate::exit::Exit;
use crate::output::{Output, fields, print, print_json, say, short, table, text};

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Run an agent, as the program muster-agent does
    Run(Run),
    /// List agents
    List {
        /// Only those that fit, such as 'version < 5.0 and os = linux'
        #[arg(long)]
        query: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Only those whose number is higher
        #[arg(long, value_name = "NUMBER")]
        after: Option<u32>,
    },
    /// Show what an agent should be and what it says it is
    Show {
        /// The agent's id
        id: String,
    },
    /// Show how the checks of its SCA policies came out, failed ones first
    Sca {
        /// The agent's id
        id: String,
        /// Only this policy, as its group calls it
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
    },
    /// Show which vulnerabilities its packages have, the worst first
    Vulnerabilities {
        /// The agent's id
        id: String,
    },
}

/// An agent's own options; --url says where the server is.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The agent's directory: its identity, its ledger, its configuration. One for each agent
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// The name that it would like to have when it enrols [default: the machine's]
    #[arg(long)]
    name: Option<String>,
    /// A label of its own, such as site=a; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The root of the system whose packages it lists; in a container, where the host's is mounted
    #[arg(long, value_name = "DIR", env = "MUSTER_INVENTORY_ROOT", default_value = "/")]
    inventory_root: PathBuf,
    #[command(flatten)]
    token: TokenSource,
}

/// The server's address; without one the usual one on this machine.
pub(super) fn address(url: Option<String>) -> String {
    url.unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned())
}

/// A label, such as `site=a`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is no label such as site=a")),
    }
}

/// Runs an agent until SIGTERM or SIGINT.
async fn run(options: Run, url: Option<String>) -> anyhow::Result<()> {
    muster_runtime::log();
    let shutdown = CancellationToken::new();
    muster_runtime::on_signal(shutdown.clone())?;
    let settings = Settings {
        root: options.root,
        url: address(url),
        token: options.token,
        name: options.name,
        labels: options.labels.into_iter().collect(),
        version: muster_agent::VERSION.into(),
        // Upgrades are for the program muster-agent, which starts another version of itself.
        supervised: false,
        inventory: options.inventory_root,
    };
    agent::run(settings, shutdown).await.map(drop)
}

pub(crate) async fn agent(output: Output, url: Option<String>, agent: Agent) -> anyhow::Result<Exit> {
    match agent {
        Agent::Run(options) => run(options, url).await?,
        Agent::List { query, limit, after } => {
            let question = json!({ "query": query, "limit": limit, "after": after });
            list(output, &ask(&control().await?, "agent.list", &question).await?)?;
        }
        Agent::Sca { id, policy } => {
            let question = json!({ "agent": id, "of": "sca" });
            let answer = ask(&control().await?, "agent.findings", &question).await?;
            sca::show(output, &answer, policy.as_deref())?;
        }
        Agent::Vulnerabilities { id } => {
            let question = json!({ "agent": id, "of": "vulnerabilities" });
            vulnerabilities::show(output, &ask(&control().await?, "agent.findings", &question).await?)?;
        }
        Agent::Show { id } => show(output, &ask(&control().await?, "agent.get", &json!({ "agent": id })).await?)?,
    }
    Ok(Exit::Done)
}

fn list(output: Output, answer: &Value) -> anyhow::Result<()> {
    if output == Output::Json {
        return print_json(answer);
    }
    let agents: Vec<&Value> = answer["agents"].as_array().into_iter().flatten().collect();
    let row = |agent: &&Value| ["id", "name", "groups", "version", "os", "seen"].map(|field| text(&agent[field]));
    print(&table(["id", "name", "groups", "version", "os", "seen"], agents.iter().map(row)))?;
    let total = answer["total"].as_u64().unwrap_or_default();
    if total > agents.len() as u64 {
        say(&format!("{} of {total} agents; --limit and --after show more", agents.len()));
    }
    Ok(())
}

fn show(output: Output, answer: &Value) -> anyhow::Result<()> {
    if output == Output::Json {
        return print_json(answer);
    }
    print(&page(answer))
}

/// What it should be and what it says it is, lane by lane.
pub(super) fn page(answer: &Value) -> String {
    let (desired, reported) = (&answer["desired"], &answer["reported"]);
    let labels = reported["labels"].as_object().into_iter().flatten();
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={}", text(value))).collect();
    let head = fields([
        ("id", text(&answer["id"])),
        ("name", text(&desired["name"])),
        ("groups", text(&desired["groups"])),
        ("gone", text(&desired["gone"])),
        ("version", text(&reported["version"])),
        ("os", text(&reported["os"])),
        ("labels", labels.join(",")),
        ("enrolled", text(&desired["enrolled"])),
        ("seen", text(&reported["seen"])),
    ]);
    let lane = |(lane, entry): (&String, &Value)| {
        let digest = |value: &Value| short(value.as_str().unwrap_or_default());
        [
            lane.clone(),
            text(&entry["version"]),
            text(&entry["task"]),
            digest(&entry["digest"]),
            digest(&reported["digests"][lane]),
        ]
    };
    let lanes: Vec<_> = desired["lanes"].as_object().into_iter().flatten().map(lane).collect();
    if lanes.is_empty() {
        head
    } else {
        format!("{head}\n{}", table(["lane", "version", "task", "digest", "in force"], lanes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn desired_and_reported_side_by_side() {
        let answer = json!({
            "id": "001",
            "desired": { "name": "db-1", "groups": ["default", "db"], "enrolled": "2026-11-23T20:00:00Z",
                "lanes": { "config=db": { "version": "0-4", "task": "t0-9", "digest": "44136fa355b3678a" } } },
            "reported": { "version": "5.0.1", "os": "linux", "labels": { "site": "a" }, "digests": { "config=db": "9f86d081884c7d65" } },
        });
        let page = page(&answer);
        assert!(page.starts_with("id        001\nname      db-1\ngroups    default,db\nversion   5.0.1\n"), "{page}");
        assert!(page.ends_with("\nconfig=db  0-4      t0-9  44136fa355b3  9f86d081884c\n"), "{page}");
    }
}
