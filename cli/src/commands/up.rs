//! `muster up`: everything in one process, with a NATS server of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use futures::FutureExt as _;
use futures::future::select_all;
use muster_broker::nats::{ConnectionSettings, connect};
use muster_broker::topology;
use muster_runtime::{Ready, Shell};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::exit::Exit;
use crate::output::print;
use crate::parts::{self, Part};
use crate::server::Server;

/// How long the parts of a stage may take to finish or hand back what they are at.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is run where.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The directory of the NATS server's data
    #[arg(long, default_value = "./.muster")]
    dir: PathBuf,
    /// The port of the NATS server
    #[arg(long, default_value_t = 4222)]
    port: u16,
    /// The address of the NATS server. Its passwords are public, so it must be one that only this machine reaches
    #[arg(long, default_value = "127.0.0.1", value_parser = loopback)]
    host: IpAddr,
    /// Seconds between an agent's syncs
    #[arg(long, value_name = "SECONDS", env = "MUSTER_SYNC_INTERVAL")]
    pub(crate) sync_interval: Option<u64>,
    /// Use the server that --url, --context or the variables name, and start none
    #[arg(long, conflicts_with_all = ["dir", "port", "host"])]
    no_server: bool,
}

fn loopback(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| format!("'{text}' is no IP address"))?;
    if address.is_loopback() { Ok(address) } else { Err(format!("{address} is no loopback address")) }
}

/// Runs until SIGTERM or SIGINT; ends with an error when a part or the server ends before.
pub(crate) async fn up(up: Up) -> anyhow::Result<Exit> {
    muster_runtime::log();
    let shutdown = CancellationToken::new();
    muster_runtime::on_signal(shutdown.clone())?;
    if up.no_server {
        let settings = ConnectionSettings::from_environment("muster up")?;
        return run(&settings, &shutdown).await.map(|()| Exit::Done);
    }
    let address = SocketAddr::new(up.host, up.port);
    let settings = ConnectionSettings::to(&format!("nats://{address}"), "muster up")?;
    let mut server = Server::start(&up.dir, address).await?;
    let end = tokio::select! {
        end = run(&settings, &shutdown) => end,
        died = server.died() => Err(died),
    };
    server.stop().await;
    end.map(|()| Exit::Done)
}

/// Provisions, starts the stages one after the other, and ends them in the reverse order.
async fn run(settings: &ConnectionSettings, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut stages = Vec::new();
    let end = tokio::select! {
        started = start(settings, &mut stages) => started,
        () = shutdown.cancelled() => Ok(()),
    };
    let end = match end {
        Ok(()) if !shutdown.is_cancelled() => tokio::select! {
            (died, ..) = select_all(stages.iter_mut().map(|stage| stage.died().boxed())) => Err(died),
            () = shutdown.cancelled() => Ok(()),
        },
        end => end,
    };
    info!("ending");
    for stage in stages.into_iter().rev() {
        stage.stop().await;
    }
    end
}

async fn start(settings: &ConnectionSettings, stages: &mut Vec<Stage>) -> anyhow::Result<()> {
    let client = connect(settings).await?;
    let report = topology::provision(&client, 1, false).await?;
    info!(created = report.created.len(), "provisioned");
    for difference in &report.differences {
        warn!("{difference}; see: muster provision");
    }
    for parts in parts::stages() {
        let mut stage = Stage::start(&parts, settings).await?;
        let ready = stage.ready();
        tokio::select! {
            () = ready => {}
            died = stage.died() => return Err(died),
        }
        stages.push(stage);
    }
    print(&welcome(&settings.shown()))
}

/// Parts that are started together and end together.
struct Stage {
    shutdown: CancellationToken,
    running: JoinSet<(&'static str, anyhow::Result<()>)>,
    ready: Vec<(&'static str, Ready)>,
}

impl Stage {
    async fn start(parts: &[Part], settings: &ConnectionSettings) -> anyhow::Result<Self> {
        let mut stage = Self { shutdown: CancellationToken::new(), running: JoinSet::new(), ready: Vec::new() };
        for &Part { name, run } in parts {
            let shell = Shell::connect(name, settings, stage.shutdown.clone()).await?;
            let client = shell.client.clone();
            stage.ready.push((name, shell.ready.clone()));
            stage.running.spawn(async move {
                let end = run(shell).await;
                (name, end.and(client.drain().await.context("the connection did not drain")))
            });
        }
        Ok(stage)
    }

    /// Waits until all parts are bound to everything they need.
    fn ready(&self) -> impl Future<Output = ()> + use<> {
        let all = self.ready.clone();
        async move {
            let mut ticks = 0u32;
            while let Some((name, _)) = all.iter().find(|(_, ready)| !ready.get()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
                ticks += 1;
                if ticks.is_multiple_of(100) {
                    warn!("{name} is not ready yet");
                }
            }
        }
    }

    /// Waits for the end of a part, which nobody wanted.
    async fn died(&mut self) -> anyhow::Error {
        match self.running.join_next().await {
            None => std::future::pending().await,
            Some(Ok((name, Ok(())))) => anyhow!("{name} has ended by itself"),
            Some(Ok((name, Err(error)))) => error.context(format!("{name} has ended")),
            Some(Err(error)) => anyhow!("a part has ended: {error}"),
        }
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = async {
            while let Some(end) = self.running.join_next().await {
                if let Ok((name, Err(error))) = end {
                    warn!("{name}: {error:#}");
                }
            }
        };
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            warn!("{} parts do not end and are dropped", self.running.len());
        }
    }
}

/// What to do now.
fn welcome(server: &str) -> String {
    let muster = if server == "127.0.0.1:4222" { "muster".to_owned() } else { format!("muster --url {server}") };
    format!(
        "muster is ready at {server}. Try, in another terminal:\n\n  \
         {muster} fleet --count 10\n  \
         {muster} group create web\n  \
         {muster} group assign web --all --wait\n\n\
         Ctrl-C ends it."
    )
}
