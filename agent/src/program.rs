//! The program `muster-agent`: the supervisor, and below it the agent proper.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::agent::{End, Settings, TokenSource, run};
use crate::upgrade::{SWITCH, supervisor};

/// An agent of Muster: it enrols, and then runs with what its groups say.
#[derive(Debug, Parser)]
#[command(name = "muster-agent")]
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

/// All that the `main` of a program does that is this version of the agent.
pub fn main(version: &'static str) -> ExitCode {
    let matches = Arguments::command().version(version).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let ended = match supervisor::is_above() {
        Ok(true) => agent(arguments, version),
        Ok(false) => supervise(&arguments.root),
        Err(error) => Err(error),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread: the agent dies with the thread that started it.
fn supervise(root: &std::path::Path) -> anyhow::Result<u8> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = signalled()?;
        supervisor::run(root, std::env::args_os().skip(1).collect(), stop).await
    })
}

fn agent(arguments: Arguments, version: &str) -> anyhow::Result<u8> {
    let _exporting = muster_telemetry::start("muster-agent");
    let settings = Settings {
        root: arguments.root,
        url: arguments.url,
        token: arguments.token,
        name: arguments.name,
        labels: arguments.labels.into_iter().collect::<BTreeMap<_, _>>(),
        inventory: arguments.inventory_root,
        version: version.to_owned(),
        supervised: true,
    };
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        let stop = signalled()?;
        run(settings, stop).await
    })?;
    Ok(if end == End::Switch { SWITCH } else { 0 })
}

/// Cancelled by SIGTERM or SIGINT.
fn signalled() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stopped.cancel();
    });
    Ok(stop)
}
