//! The NATS server of `muster up`: a child process with a directory of its own.

mod find;
mod guard;
mod port;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use muster_keys::{Door, Keys};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tracing::{info, warn};

pub(crate) use self::guard::Guard;

const CONFIGURATION: &str = include_str!("../../../nats/server.conf");
/// How long a directory is waited for whose last user may just be ending, and how long the server may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running server. It ends when this is dropped, and when this process ends in whatever way.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    /// The keys of its users, in `keys` below its directory.
    pub(crate) keys: Keys,
}

impl Server {
    /// Starts a server that stores below `dir` and listens on `address`; its users' keys stay the same over restarts. To be called from the thread that lives as
    /// long as the process: the server ends with the thread that started it.
    ///
    /// # Errors
    /// When there is no nats-server, the directory or the port is in use; it says what to do.
    pub(crate) async fn start(dir: &Path, address: SocketAddr, door: Door) -> anyhow::Result<Self> {
        let binary = find::find().await?;
        let cannot = || format!("the directory {} cannot be used", dir.display());
        std::fs::create_dir_all(dir).with_context(cannot)?;
        let dir = dir.canonicalize().with_context(cannot)?;
        let mut lock = lock(&dir).await?;
        port::ensure_free(address)?;
        let keys = Keys::make(dir.join("keys"))?;
        let configuration = dir.join("nats-server.conf");
        std::fs::write(&configuration, CONFIGURATION).with_context(cannot)?;
        let log = dir.join("nats-server.log");
        let output = File::create(&log).with_context(cannot)?;
        let child = Command::new(std::env::current_exe().context("this program's own file is not known")?)
            .arg("guard")
            .arg("--parent")
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(&binary)
            .arg("-c")
            .arg(&configuration)
            .args(["-a", &address.ip().to_string(), "-p", &address.port().to_string()])
            .arg("-sd")
            .arg(dir.join("nats"))
            .envs(keys.server_environment(door)?)
            // The lock belongs to the open file, so the directory stays locked for as long as the server lives.
            .stdin(Stdio::from(lock.try_clone()?))
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C at a terminal goes to the whole group; the server is to end last.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        let pids = format!("muster up {}, nats-server {}\n", std::process::id(), child.id().unwrap_or_default());
        lock.set_len(0)?;
        lock.write_all(pids.as_bytes()).with_context(cannot)?;
        info!(server = %binary.display(), pid = child.id(), %address, store = %dir.display(), "nats-server started");
        Ok(Self { child, log, keys })
    }

    /// Waits for its end, which nobody wanted, and says why it came.
    pub(crate) async fn died(&mut self) -> anyhow::Error {
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        anyhow!("nats-server has ended ({status}); its log is {}:\n{}", self.log.display(), last.join("\n"))
    }

    /// Ends it, by its id, and waits until it has ended.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(_) => info!("nats-server ended"),
            Err(_) => {
                warn!("nats-server does not end and is killed");
                let _ = self.child.kill().await;
            }
        }
    }
}

/// Locks the directory: two servers on the same store would destroy it.
async fn lock(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join("lock");
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Err(error) = file.try_lock() {
        if let std::fs::TryLockError::Error(error) = error {
            return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
        }
        if tokio::time::Instant::now() >= deadline {
            let mut pids = String::new();
            let _ = file.read_to_string(&mut pids);
            bail!(
                "the directory {} is in use by: {}. End it (kill its number), or take another directory: \
                 muster up --dir DIR --port N",
                dir.display(),
                pids.trim()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
