//! The workspace's programs as child processes that tests kill, stop and wake.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const TAIL: usize = 40;

/// A child process with its output in a log file.
///
/// Dropping it kills it, and prints the log's last 40 lines if the test is panicking.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    _dir: TempDir,
}

impl Process {
    /// Starts the `muster` program with these arguments.
    ///
    /// # Errors
    /// When it has not been built or cannot be started.
    pub fn muster<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut command = binary("muster")?;
        command.args(args);
        Self::start(command)
    }

    /// Starts any command. Its standard output and error go to the log file, its
    /// standard input is empty; environment and directory are as `command` says.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("log");
        let out = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, child, log, _dir: dir })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Keeps its log at `path`, also when it has ended.
    ///
    /// # Errors
    /// When that file cannot be written.
    pub fn keep_log(&self, path: &Path) -> Result<()> {
        use std::io::Write as _;
        let mut kept = File::options().create(true).append(true).open(path)?;
        writeln!(kept, "--- process {}", self.id())?;
        Ok(kept.write_all(self.log().as_bytes())?)
    }

    /// All that it has written to its standard output and error so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether it has not ended yet. A stopped process (`Signal::STOP`) is running.
    ///
    /// # Errors
    /// When the operating system cannot tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends a signal, such as `Signal::TERM`, `Signal::STOP` or `Signal::CONT`.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        ensure!(self.is_running()?, "{} has ended already", self.name);
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// The first process that it has started and that has not ended: of `muster-agent` the agent proper.
    pub fn child(&self) -> Option<u32> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// Sends a signal to that process.
    ///
    /// # Errors
    /// When there is none.
    pub fn signal_child(&self, signal: Signal) -> Result<()> {
        let child = self.child().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(kill_process(child.with_context(|| format!("{} has started no process", self.name))?, signal)?)
    }

    /// Kills it (SIGKILL) and waits until it is gone. Fine when it has ended already.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it has not ended within `limit`.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} has not ended within {limit:?}", self.name);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
            eprintln!("--- the last lines of {}:\n{tail}\n---", self.name);
        }
    }
}

/// A command that runs one of the workspace's programs: the one that was built into the
/// same target directory, with the same profile, as the running test or program.
///
/// # Errors
/// When it has not been built: a test of one package does not build another's program.
pub fn binary(name: &str) -> Result<Command> {
    let test = std::env::current_exe()?;
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let folder = test.parent().filter(|folder| !folder.ends_with("deps")).or_else(|| test.ancestors().nth(2));
    let profile = folder.context("the test runs outside of a target directory")?;
    let program = profile.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    ensure!(program.is_file(), "{} is not there: run `cargo build --workspace` first", program.display());
    Ok(Command::new(program))
}
