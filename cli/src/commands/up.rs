//! `muster up`: everything in one process, with a NATS server of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use futures::FutureExt as _;
use futures::future::select_all;
use muster_broker::nats::{ConnectionSettings, NatsBroker, connect};
use muster_broker::topology;
use muster_keys::{Door, Key, write_secret};
use muster_runtime::{Ready, Shell};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::token;
use crate::exit::Exit;
use crate::output::print;
use crate::parts::{self, Part};
use crate::server::Server;

/// How long the parts of a stage may take to finish or hand back what they are at.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the token of this machine's agents is good.
const TOKEN: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is run where.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The directory of the NATS server's data
    #[arg(long, default_value = "./.muster")]
    dir: PathBuf,
    /// The port of the NATS server
    #[arg(long, default_value_t = 4222)]
    port: u16,
    /// The address of the NATS server: one that only this machine reaches
    #[arg(long, default_value = "127.0.0.1", value_parser = loopback)]
    host: IpAddr,
    /// Seconds between an agent's syncs
    #[arg(long, value_name = "SECONDS", env = "MUSTER_SYNC_INTERVAL")]
    pub(crate) sync_interval: Option<u64>,
    /// Use the server that --url, --context or the variables name, and start none
    #[arg(long, conflicts_with_all = ["dir", "port", "host", "closed"])]
    no_server: bool,
    /// Take nobody without credentials, and no virtual agents. Others then set NATS_NKEY to keys/control.seed in DIR
    #[arg(long)]
    closed: bool,
}

fn loopback(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| format!("'{text}' is no IP address"))?;
    if address.is_loopback() { Ok(address) } else { Err(format!("{address} is no loopback address")) }
}

/// Runs until SIGTERM or SIGINT; ends with an error when a part or the server ends before.
pub(crate) async fn up(up: Up) -> anyhow::Result<Exit> {
    muster_runtime::log();
    let _exporting = muster_telemetry::start("muster");
    let shutdown = CancellationToken::new();
    muster_runtime::on_signal(shutdown.clone())?;
    if up.no_server {
        let settings = ConnectionSettings::from_environment("muster up")?;
        return run(&settings, None, &shutdown).await.map(|()| Exit::Done);
    }
    let address = SocketAddr::new(up.host, up.port);
    let settings = ConnectionSettings::to(&format!("nats://{address}"), "muster up")?;
    let door = if up.closed { Door::Closed } else { Door::Open };
    let mut server = Server::start(&up.dir, address, door).await?;
    let settings = settings.with_keys(server.keys.clone()).as_user(Key::Control)?;
    let end = tokio::select! {
        end = run(&settings, Some(&up.dir), &shutdown) => end,
        died = server.died() => Err(died),
    };
    server.stop().await;
    end.map(|()| Exit::Done)
}

/// Provisions, starts the stages one after the other, and ends them in the reverse order.
async fn run(settings: &ConnectionSettings, dir: Option<&Path>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut stages = Vec::new();
    let end = tokio::select! {
        started = start(settings, dir, &mut stages) => started,
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

async fn start(settings: &ConnectionSettings, dir: Option<&Path>, stages: &mut Vec<Stage>) -> anyhow::Result<()> {
    let client = connect(settings).await?;
    let report = topology::provision(&client, 1, false).await?;
    info!(created = report.created.len(), "provisioned");
    for difference in &report.differences {
        warn!("{difference}; see: muster provision");
    }
    for parts in parts::stages() {
        let mut stage = Stage::start(&parts, settings, dir).await?;
        let ready = stage.ready();
        tokio::select! {
            () = ready => {}
            died = stage.died() => return Err(died),
        }
        stages.push(stage);
    }
    let token = match dir {
        Some(dir) => Some(enrolment_token(&NatsBroker::new(client), dir).await?),
        None => None,
    };
    print(&welcome(&settings.shown(), token.as_deref(), settings.keys().directory()))
}

/// The file with the token for this machine's agents: made at the first start, and again when it is not good any more.
async fn enrolment_token(broker: &NatsBroker, dir: &Path) -> anyhow::Result<PathBuf> {
    let file = dir.join("enrol.token");
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    if !token::is_valid(broker, kept.trim()).await? {
        let (text, token) = token::create(broker, None, TOKEN).await?;
        write_secret(&file, &text).with_context(|| format!("the token {}", file.display()))?;
        info!(file = %file.display(), name = token.name, expires = %token.expires, "a token for new agents was made");
    }
    Ok(file)
}

/// Parts that are started together and end together.
struct Stage {
    shutdown: CancellationToken,
    running: JoinSet<(&'static str, anyhow::Result<()>)>,
    ready: Vec<(&'static str, Ready)>,
}

impl Stage {
    async fn start(parts: &[Part], settings: &ConnectionSettings, dir: Option<&Path>) -> anyhow::Result<Self> {
        let mut stage = Self { shutdown: CancellationToken::new(), running: JoinSet::new(), ready: Vec::new() };
        for &Part { name, run } in parts {
            let mut shell = Shell::connect(name, settings, stage.shutdown.clone()).await?;
            shell.directory = dir.map(|dir| dir.join(name));
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
fn welcome(server: &str, token: Option<&Path>, keys: &Path) -> String {
    let at = if server == "127.0.0.1:4222" { String::new() } else { format!(" --url {server}") };
    let keyed =
        if keys == Path::new("./.muster/keys") { String::new() } else { format!("MUSTER_KEYS={} ", keys.display()) };
    let agents = match token {
        Some(file) => format!(
            "The token for new agents is in {0}:\n\n  muster-agent{at} --root ./agent-1 --token-file {0}\n\n",
            file.display()
        ),
        None => "New agents need a token (muster token create).\n\n".to_owned(),
    };
    format!(
        "muster is ready at {server}. {agents}\
         Try, in another terminal:\n\n  \
         {keyed}muster{at} fleet --count 10\n  \
         muster{at} group create web\n  \
         muster{at} group assign web --all --wait\n\n\
         Ctrl-C ends it."
    )
}
