//! A NATS server with `nats/server.conf`, in a container or as a child process, that
//! can be killed and comes back at the same address with its data.

mod container;
mod local;
mod port;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use muster_keys::{Door, Key, Keys};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use self::{container::Container, local::Local};

const VERSION: &str = "2.15.1";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running NATS server on loopback, with JetStream, empty at the start. It and its
/// data are gone when this is dropped.
#[derive(Debug)]
pub struct NatsServer {
    port: u16,
    runner: Runner,
    door: Door,
    keys: Keys,
    _keys: TempDir,
}

/// What the configuration is told: `MUSTER_ISSUER` and so on.
type Variables = Vec<(String, String)>;

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
        Self::of_choice(Door::Open).await
    }

    /// Starts one as [`NatsServer::start`] does that takes nobody without credentials and
    /// has no user for a fleet.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub async fn closed() -> Result<Self> {
        Self::of_choice(Door::Closed).await
    }

    async fn of_choice(door: Door) -> Result<Self> {
        let missing = match container::available().await {
            Ok(()) => return Self::contained(door).await,
            Err(missing) => missing,
        };
        let required = std::env::var("MUSTER_REQUIRE_DOCKER").is_ok_and(|v| v == "1");
        ensure!(!required, "MUSTER_REQUIRE_DOCKER is 1, but {missing:#}");
        eprintln!("testkit: nats-server runs as a child process, because {missing:#}");
        Self::process(door).await
    }

    /// Starts a server in a container of the image that `deploy/build-nats-image` makes.
    ///
    /// # Errors
    /// When there is no engine or no image, or the server does not start.
    pub async fn in_container() -> Result<Self> {
        Self::contained(Door::Open).await
    }

    /// Starts a server as a child process, from `.tools/bin` or PATH.
    ///
    /// # Errors
    /// When there is no such program, or it does not start.
    pub async fn as_process() -> Result<Self> {
        Self::process(Door::Open).await
    }

    async fn contained(door: Door) -> Result<Self> {
        let (directory, keys, variables) = keys(door)?;
        let port = port::free()?;
        let runner = Runner::Container(Container::start(port, variables).await?);
        Self { port, runner, door, keys, _keys: directory }.ready().await
    }

    async fn process(door: Door) -> Result<Self> {
        let (directory, keys, variables) = keys(door)?;
        let port = port::free()?;
        let runner = Runner::Local(Local::start(port, variables)?);
        Self { port, runner, door, keys, _keys: directory }.ready().await
    }

    /// Where anyone on this machine is the user `control`, of the account with JetStream,
    /// unless the server is a closed one.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The id of its process; none where it runs in a container.
    pub fn process_id(&self) -> Option<u32> {
        match &self.runner {
            Runner::Local(local) => Some(local.id()),
            Runner::Container(_) => None,
        }
    }

    /// The directory of its data; none where it runs in a container.
    pub fn store(&self) -> Option<&Path> {
        match &self.runner {
            Runner::Local(local) => Some(local.store()),
            Runner::Container(_) => None,
        }
    }

    /// The keys of the server's users: what `MUSTER_KEYS` names is their directory.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// A new connection as `control`, without credentials where none are needed.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn control(&self) -> Result<Client> {
        match self.door {
            Door::Open => self.connect(ConnectOptions::new()).await,
            Door::Closed => self.agents(Key::Control.name()).await,
        }
    }

    /// A new connection as a user by its name: `push`, `answer`, or `fleet`, which may act
    /// as every agent.
    ///
    /// # Errors
    /// When the server does not answer, or there is no such user.
    pub async fn agents(&self, user: &str) -> Result<Client> {
        self.connect(self.options(user)?).await
    }

    /// The credentials of a user by its name.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn options(&self, user: &str) -> Result<ConnectOptions> {
        let key = Key::named(user).with_context(|| format!("there is no user '{user}'"))?;
        Ok(ConnectOptions::with_nkey(self.keys.pair(key)?.seed()?))
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

    async fn ready(mut self) -> Result<Self> {
        self.wait_ready().await?;
        Ok(self)
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

/// Asks as the agent with this id, or as the newcomer with this nkey, over a connection of
/// the user `fleet`: the gateway answers to the inbox of whoever the subject names.
///
/// # Errors
/// When nobody answers in time.
pub async fn ask_as(client: &Client, asker: &str, subject: &str, payload: impl Into<Bytes>) -> Result<Bytes> {
    let inbox = format!("_INBOX.{asker}.{}", nuid::next());
    let request = async_nats::Request::new().payload(payload.into()).inbox(inbox).timeout(Some(crate::PATIENCE));
    Ok(client.send_request(subject.to_owned(), request).await.with_context(|| subject.to_owned())?.payload)
}

fn keys(door: Door) -> Result<(TempDir, Keys, Variables)> {
    let directory = tempfile::tempdir()?;
    let keys = Keys::make(directory.path())?;
    let variables = keys.server_environment(door)?;
    Ok((directory, keys, variables))
}

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
