//! The agent's program.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use muster_agent::agent::{Settings, TokenSource, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// An agent of Muster: it enrols, and then runs with what its groups say.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version)]
struct Arguments {
    /// The agent's directory: its identity, its ledger, its configuration. One for each agent
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// The server; several are separated by commas
    #[arg(long, env = "NATS_URL", default_value = "nats://127.0.0.1:4222")]
    url: String,
    /// The name that it would like to have when it enrols [default: the machine's]
    #[arg(long)]
    name: Option<String>,
    /// A label of its own; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The root of the system whose packages it lists; in a container, where the host's is mounted
    #[arg(long, value_name = "DIR", env = "MUSTER_INVENTORY_ROOT", default_value = "/")]
    inventory_root: PathBuf,
    #[command(flatten)]
    token: TokenSource,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err(format!("'{text}' is not of the form KEY=VALUE")),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let _exporting = muster_telemetry::start("muster-agent");
    let settings = Settings {
        root: arguments.root,
        url: arguments.url,
        token: arguments.token,
        name: arguments.name,
        labels: arguments.labels.into_iter().collect::<BTreeMap<_, _>>(),
        inventory: arguments.inventory_root,
    };
    match run_until_signalled(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run_until_signalled(settings: Settings) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stopped.cancel();
    });
    run(settings, stop).await
}
