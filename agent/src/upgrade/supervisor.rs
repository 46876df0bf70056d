//! The process that starts the agent proper, waits for it, and goes back to the old version when a new one is no good.
//! It is small and knows no network: what it does, it does the same for each version.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::places::Places;
use super::switch::{After, Ended, Program, Switch};

/// The variable by which an agent proper knows its supervisor: that one's process id.
const SUPERVISOR: &str = "MUSTER_AGENT_SUPERVISOR";
/// The variable that says how many seconds a new version has until its hello is answered.
const PROOF: &str = "MUSTER_UPGRADE_PROOF";
/// How long it has unless said.
const PROOF_SECONDS: u64 = 60;
/// How long an agent has to end when it is told to.
const GRACE: Duration = Duration::from_secs(20);
/// How long the agent before is waited for: it was killed with its supervisor, or is about to end.
const BEFORE: Duration = Duration::from_secs(5);
/// Before the lock is looked at again.
const AGAIN: Duration = Duration::from_millis(20);
/// What an agent's end by a signal is added to, as shells do.
const SIGNALLED: i32 = 128;

/// Whether this process is an agent proper below a supervisor. It then dies with it.
///
/// # Errors
/// When the supervisor is dead already.
pub fn is_above() -> anyhow::Result<bool> {
    let Ok(supervisor) = std::env::var(SUPERVISOR) else { return Ok(false) };
    set_parent_process_death_signal(Some(Signal::KILL)).context("the end of the supervisor would not be noticed")?;
    // It may have ended before that was said.
    match getppid() {
        Some(parent) if parent.as_raw_nonzero().to_string() == supervisor => Ok(true),
        _ => bail!("the supervisor {supervisor} has ended"),
    }
}

/// Runs the agent below `root` with these arguments until `stop`, or until it ends by itself. Gives the exit code.
///
/// # Errors
/// When another agent runs in this directory, its files cannot be read or written, or no program can be started.
pub async fn run(root: &Path, arguments: Vec<std::ffi::OsString>, stop: CancellationToken) -> anyhow::Result<u8> {
    let places = Places::open(root).with_context(|| format!("the directory {} cannot be used", root.display()))?;
    let supervisor = Supervisor { lock: lock(&places).await?, places, arguments, proof: proof()? };
    loop {
        let (write, program) = Switch::start(supervisor.places.switch()?.as_ref());
        if let Some(switch) = write {
            supervisor.places.remember(&switch)?;
        }
        let (how, code) = supervisor.once(program, &stop).await?;
        // The agent has ended: from here on the record is the supervisor's to write.
        let (write, after) = Switch::ended(supervisor.places.switch()?.as_ref(), &how);
        if let Some(switch) = write {
            tracing::warn!(phase = ?switch.phase, "back to version {}", switch.from);
            supervisor.places.remember(&switch)?;
        }
        if after == After::End {
            return Ok(code);
        }
    }
}

struct Supervisor {
    /// Held by the agent too, as its standard input: it is free when both have ended.
    lock: File,
    places: Places,
    arguments: Vec<std::ffi::OsString>,
    proof: Duration,
}

impl Supervisor {
    /// Runs a program once.
    async fn once(&self, program: Program, stop: &CancellationToken) -> anyhow::Result<(Ended, u8)> {
        let file = self.file(program)?;
        let mut agent = match self.start(&file) {
            Ok(agent) => agent,
            // A package that is no program: as if it had ended at once.
            Err(error) if program == Program::Trial => {
                return Ok((Ended::Itself(format!("{}: {error}", file.display())), 1));
            }
            Err(error) => return Err(error).with_context(|| format!("{} cannot be started", file.display())),
        };
        tokio::select! {
            status = agent.wait() => {
                let status = status.context("the agent's end was not noticed")?;
                Ok((Ended::Itself(status.to_string()), code(status)))
            }
            () = stop.cancelled() => {
                let status = end(&mut agent).await?;
                Ok((Ended::Told, code(status)))
            }
            () = self.overdue(program) => {
                agent.kill().await.context("a version that does not prove itself cannot be ended")?;
                Ok((Ended::Overdue(self.proof.as_secs()), 1))
            }
        }
    }

    fn file(&self, program: Program) -> anyhow::Result<PathBuf> {
        let version = match program {
            Program::InForce => self.places.in_force()?,
            Program::Trial | Program::New => self.places.switch()?.map(|switch| switch.to),
        };
        if let Some(version) = version {
            let file = self.places.program(&version);
            if program == Program::Trial || file.is_file() {
                return Ok(file);
            }
            tracing::error!(version, file = %file.display(), "the program in force is gone; the installed one runs");
        }
        std::env::current_exe().context("the supervisor does not know its own program")
    }

    fn start(&self, file: &Path) -> std::io::Result<Child> {
        let mut command = Command::new(file);
        command.args(&self.arguments).env(SUPERVISOR, std::process::id().to_string());
        command.stdin(Stdio::from(self.lock.try_clone()?)).kill_on_drop(true).spawn()
    }

    /// Returns only for a trial, when its time is over and it has not proven itself.
    async fn overdue(&self, program: Program) {
        if program != Program::Trial {
            return std::future::pending().await;
        }
        sleep(self.proof).await;
        // Whoever has proven itself in time may go on; what cannot be read proves nothing.
        let tried = self.places.switch().ok().flatten().is_some_and(|switch| switch.proven().is_some());
        if !tried {
            std::future::pending().await
        }
    }
}

/// Locks the directory.
async fn lock(places: &Places) -> anyhow::Result<File> {
    let path = places.lock();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
    let locking = async {
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => sleep(AGAIN).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    };
    match timeout(BEFORE, locking).await {
        Ok(locked) => locked.with_context(|| format!("{} cannot be locked", path.display()))?,
        Err(_) => bail!(
            "another agent runs in this directory ({} is locked); give each agent a --root of its own",
            path.display()
        ),
    }
    Ok(file)
}

/// Tells an agent to end, and ends it when it does not.
async fn end(agent: &mut Child) -> anyhow::Result<ExitStatus> {
    let id = agent.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        // It may have ended in this moment.
        let _ = kill_process(id, Signal::TERM);
    }
    if let Ok(status) = timeout(GRACE, agent.wait()).await {
        return Ok(status?);
    }
    tracing::warn!("the agent does not end; it is killed");
    agent.kill().await?;
    Ok(agent.wait().await?)
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn proof() -> anyhow::Result<Duration> {
    let seconds = match std::env::var(PROOF) {
        Ok(text) => text.parse().with_context(|| format!("{PROOF} is no number of seconds: '{text}'"))?,
        Err(_) => PROOF_SECONDS,
    };
    Ok(Duration::from_secs(seconds))
}
