//! The shell of a process: logs, connection, signals, health, and the place in `nats micro ls`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use async_nats::service::ServiceExt as _;
use muster_broker::nats::{ConnectionSettings, NatsBroker, connect};
use muster_broker::{Bus, SystemClock, kv};
use muster_core::function::Function;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::crash;
use crate::health::{Ready, serve};
use crate::steps::{AGENTS, Context};
use crate::{Definition, rehearsal, work};

/// Edge functions work on this many tasks at once; functions with a level lane on one, in order.
const AT_ONCE: usize = 16;

/// What a function or service is given to run.
#[derive(Clone)]
pub struct Shell {
    /// Its name in logs, in `nats micro ls` and on the connection.
    pub name: String,
    /// Streams, buckets and time.
    pub context: Context,
    /// The control account.
    pub client: async_nats::Client,
    /// How to make further connections.
    pub connection: ConnectionSettings,
    /// Cancelled when the process is to end: stop pulling, finish or hand back, flush, return.
    pub shutdown: CancellationToken,
    /// Set when it is bound to everything it needs.
    pub ready: Ready,
    /// The server's epoch.
    pub epoch: u32,
    /// Where a part that keeps files is to keep them; a process of its own is told otherwise.
    pub directory: Option<std::path::PathBuf>,
}

impl Shell {
    /// Connects under a name.
    ///
    /// # Errors
    /// When the server cannot be reached or is not provisioned.
    pub async fn connect(
        name: &str,
        connection: &ConnectionSettings,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let mut settings = connection.clone();
        name.clone_into(&mut settings.name);
        let client = connect(&settings).await?;
        let bus: Bus = crash::guarded(Arc::new(NatsBroker::new(client.clone())));
        let epoch = bus.get(&kv::stream(AGENTS), &kv::subject(AGENTS, "epoch")).await;
        let epoch = epoch
            .ok()
            .flatten()
            .and_then(|e| e.body)
            .context("the server is not provisioned; run: muster provision")?;
        let epoch = std::str::from_utf8(&epoch)?.trim().parse().context("agents/epoch is no number")?;
        Ok(Self {
            name: name.to_owned(),
            context: Context { bus, clock: Arc::new(SystemClock) },
            client,
            connection: settings,
            shutdown,
            ready: Ready::default(),
            epoch,
            directory: None,
        })
    }

    /// Registers the process with the service API, so that `nats micro ls|info|stats` shows it.
    ///
    /// # Errors
    /// When the registration is refused.
    pub async fn register(&self, description: &str) -> anyhow::Result<async_nats::service::Service> {
        let service =
            self.client.service_builder().description(description).start(&self.name, env!("CARGO_PKG_VERSION"));
        service.await.map_err(|e| anyhow::anyhow!("{} cannot be registered as a service: {e}", self.name))
    }
}

/// Runs a function as a process of its own: all that a function's `main` does.
pub fn run<F: Function>() -> ExitCode {
    main(F::TYPE.name(), function::<F>)
}

/// Runs a function in a shell until its shutdown.
///
/// # Errors
/// When its schema is none or its consumer cannot be read.
pub async fn function<F: Function>(shell: Shell) -> anyhow::Result<()> {
    let definition = Arc::new(Definition::of::<F>()?);
    let service = shell.register(&format!("carries out tasks of type {}", F::TYPE)).await?;
    let rehearsing = rehearsal::serve(&shell, &service, definition.clone()).await?;
    let at_once = if F::SERIAL { 1 } else { AT_ONCE };
    let ready = shell.ready.clone();
    work(definition, shell.context, shell.epoch, at_once, shell.shutdown, move |bound| ready.set(bound)).await?;
    rehearsing.abort();
    let _ = service.stop().await;
    Ok(())
}

/// Runs a service as a process of its own, until SIGTERM or SIGINT.
pub fn main<F, Fut>(name: &'static str, run: F) -> ExitCode
where
    F: FnOnce(Shell) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    log();
    // Ends after the runtime has done its last work, and sends what is left.
    let _exporting = muster_telemetry::start(name);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            error!("no runtime: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(guarded(name, run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            error!("{name} ends: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn guarded<F, Fut>(name: &str, run: F) -> anyhow::Result<()>
where
    F: FnOnce(Shell) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let shutdown = CancellationToken::new();
    on_signal(shutdown.clone())?;
    let shell = Shell::connect(name, &ConnectionSettings::from_environment(name)?, shutdown).await?;
    let (client, ready) = (shell.client.clone(), shell.ready.clone());
    if let Ok(address) = std::env::var("MUSTER_HEALTH_ADDR") {
        let address: SocketAddr = address.parse().context("MUSTER_HEALTH_ADDR is no <ip>:<port>")?;
        let (ready, client) = (ready.clone(), client.clone());
        tokio::spawn(async move {
            if let Err(e) = serve(address, ready, client).await {
                error!("no health endpoint on {address}: {e}");
            }
        });
    }
    info!(name, "started");
    run(shell).await?;
    ready.set(false);
    client.drain().await.context("the connection did not drain")?;
    info!(name, "ended");
    Ok(())
}

/// Cancels the token on SIGTERM or SIGINT.
///
/// # Errors
/// When the process may not handle signals.
pub fn on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        shutdown.cancel();
    });
    Ok(())
}

/// Structured logs on stderr: `RUST_LOG` says which (info unless said), `MUSTER_LOG=json` in which form.
pub fn log() {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,async_nats=warn".into());
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A second call, as in tests, keeps the first one's settings.
    if std::env::var("MUSTER_LOG").as_deref() == Ok("json") {
        let logs = logs.json().with_filter_reloading();
        let levels = logs.reload_handle();
        if logs.try_init().is_ok() {
            let _ = LEVELS.set(Box::new(move |filter| levels.reload(filter).is_ok()));
        }
    } else {
        let logs = logs.with_filter_reloading();
        let levels = logs.reload_handle();
        if logs.try_init().is_ok() {
            let _ = LEVELS.set(Box::new(move |filter| levels.reload(filter).is_ok()));
        }
    }
}

type SetFilter = Box<dyn Fn(tracing_subscriber::EnvFilter) -> bool + Send + Sync>;
static LEVELS: OnceLock<SetFilter> = OnceLock::new();

/// Changes which logs this process writes from now on: those of this level (`error`, `warn`, `info`, `debug`, `trace`)
/// and the more important ones. False when the process keeps no log of its own.
pub fn log_level(level: &str) -> bool {
    let filter = format!("{level},async_nats=warn,hyper=warn,h2=warn");
    LEVELS.get().is_some_and(|set| set(filter.into()))
}
