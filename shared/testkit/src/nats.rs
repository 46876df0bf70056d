//! A NATS server with `nats/server.conf`, in a container or as a child process, that
//! can be killed and comes back at the same address with its data.

mod container;
mod local;
mod port;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use async_nats::{Client, ConnectOptions};
use tokio::time::{Instant, sleep};

use self::{container::Container, local::Local};

/// The password of all users in `nats/server.conf`. It is for loopback only.
pub const PASSWORD: &str = "loopback";

const VERSION: &str = "2.15.1";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running NATS server on loopback, with JetStream, empty at the start. It and its
/// data are gone when this is dropped.
#[derive(Debug)]
pub struct NatsServer {
    port: u16,
    runner: Runner,
}

#[derive(Debug)]
enum Runner {
    Container(Container),
    Local(Local),
}

impl NatsServer {
    /// Starts a server in a container. Where no Docker engine answers or the image is
    /// missing, it is a child process instead, and one line on standard error says so.
    ///
    /// # Errors
    /// When it does not start; with `MUSTER_REQUIRE_DOCKER=1` also where a container
    /// cannot be had.
    pub async fn start() -> Result<Self> {
        let missing = match container::available().await {
            Ok(()) => return Self::in_container().await,
            Err(missing) => missing,
        };
        let required = std::env::var("MUSTER_REQUIRE_DOCKER").is_ok_and(|v| v == "1");
        ensure!(!required, "MUSTER_REQUIRE_DOCKER is 1, but {missing:#}");
        eprintln!("testkit: nats-server runs as a child process, because {missing:#}");
        Self::as_process().await
    }

    /// Starts a server in a container of the image that `deploy/build-nats-image` makes.
    ///
    /// # Errors
    /// When there is no engine or no image, or the server does not start.
    pub async fn in_container() -> Result<Self> {
        let port = port::free()?;
        Self::ready(port, Runner::Container(Container::start(port).await?)).await
    }

    /// Starts a server as a child process, from `.tools/bin` or PATH.
    ///
    /// # Errors
    /// When there is no such program, or it does not start.
    pub async fn as_process() -> Result<Self> {
        let port = port::free()?;
        Self::ready(port, Runner::Local(Local::start(port)?)).await
    }

    /// Where anyone on this machine is the user `control`, of the account with JetStream.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A new connection as `control`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn control(&self) -> Result<Client> {
        self.connect(ConnectOptions::new()).await
    }

    /// A new connection as `push`, `answer` or `agent` of the agents' account.
    ///
    /// # Errors
    /// When the server does not answer, or there is no such user.
    pub async fn agents(&self, user: &str) -> Result<Client> {
        self.connect(agents_options(user)).await
    }

    async fn connect(&self, options: ConnectOptions) -> Result<Client> {
        let url = self.url();
        options
            .connection_timeout(Duration::from_secs(5))
            .connect(&url)
            .await
            .with_context(|| format!("cannot connect to {url}"))
    }

    /// Kills the server (SIGKILL). Its data stay.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> Result<()> {
        match &mut self.runner {
            Runner::Container(container) => container.kill().await,
            Runner::Local(local) => local.kill(),
        }
    }

    /// Ends the server as an operator would (SIGTERM), and waits for it. Its data stay.
    ///
    /// # Errors
    /// When it is not running, or does not end.
    pub async fn stop(&mut self) -> Result<()> {
        match &mut self.runner {
            Runner::Container(container) => container.stop().await,
            Runner::Local(local) => local.stop().await,
        }
    }

    /// Starts the killed or stopped server again, at the same address and with its data,
    /// and waits until it answers. A server that is running is stopped first.
    ///
    /// # Errors
    /// When it does not answer within a minute.
    pub async fn restart(&mut self) -> Result<()> {
        match &mut self.runner {
            Runner::Container(container) => container.restart().await?,
            Runner::Local(local) => local.restart().await?,
        }
        self.wait_ready().await
    }

    async fn ready(port: u16, runner: Runner) -> Result<Self> {
        let mut server = Self { port, runner };
        server.wait_ready().await?;
        Ok(server)
    }

    /// Ready means that JetStream answers. An accepted connection says nothing: Docker's
    /// proxy accepts before the server listens.
    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Runner::Local(local) = &mut self.runner {
                local.ensure_running()?;
            }
            match self.jetstream_answers().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    return Err(error).context("nats-server does not become ready");
                }
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn jetstream_answers(&self) -> Result<()> {
        let jetstream = async_nats::jetstream::new(self.control().await?);
        jetstream.query_account().await?;
        Ok(())
    }
}

/// The credentials of `push`, `answer` or `agent`. They must not go into the URL:
/// async-nats leaves them out of account there, and who shows none is `control`.
pub fn agents_options(user: &str) -> ConnectOptions {
    ConnectOptions::with_user_and_password(user.to_owned(), PASSWORD.to_owned())
}

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
