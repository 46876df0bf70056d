//! The module logcollector: follows files and writes their lines to a spool, each line exactly once.
//!
//! What is followed, and from where:
//! - A file that exists when its location is first named is followed from its end (only future events, beginning with
//!   a line that is not complete yet); one that appears later, from its beginning.
//! - A location that a configuration no longer names is forgotten; named again, it is new.
//! - After a restart, stopped or killed, each file goes on where it was. What appeared meanwhile under a known location
//!   is read from its beginning.
//! - A rotated file (renamed or deleted, another at its path) is finished first; one that was cut off, or rewritten,
//!   is read from its beginning. A file is known by device, inode and its first bytes, so that a file found under two
//!   names is read once.
//!
//! Each line is one line of JSON in `<root>/spool/logcollector.jsonl`: `{"location": <path>, "line": <text>}`, without
//! its line end, with `"truncated": true` when it was longer than 64 KiB and was cut. Bytes that are no UTF-8 become
//! U+FFFD. Lines that a file loses before they are read (cut off at once, or rotated twice, within `read_interval`)
//! are lost.

mod collector;
mod follow;
mod lines;
mod pattern;
mod spool;
mod state;

use std::io;
use std::path::Path;
use std::time::Duration;

use muster_core::configuration::Logcollector;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use self::collector::Collector;

/// What the module runs with after [`LogCollector::apply`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Whether the section lets it follow anything.
    pub enabled: bool,
    /// The locations that are followed.
    pub localfiles: Vec<String>,
    /// How often files are read, in milliseconds.
    pub read_interval: u64,
    /// How often files that newly match are looked for, in milliseconds.
    pub reload_interval: u64,
    /// The files that are open. Not serialized: they say what is on the machine, not what was loaded.
    #[serde(skip)]
    pub files: Vec<String>,
}

/// Why the module could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the module's own.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The module has ended.
    #[error("the module has ended")]
    Ended,
}

impl Error {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        |source| Self::File { path, source }
    }
}

enum Command {
    Apply(Logcollector, oneshot::Sender<Result<Loaded, Error>>),
    Stop,
}

/// The running module: a task that ends with [`LogCollector::stop`], or when this is dropped.
pub struct LogCollector {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

impl LogCollector {
    /// Starts the module with its spool and its state below the directory `root`. Nothing is read before the first
    /// [`LogCollector::apply`]. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the spool or the state cannot be read or written.
    pub fn start(root: &Path) -> Result<Self, Error> {
        let collector = Collector::open(root)?;
        let (commands, receiver) = mpsc::channel(16);
        Ok(Self { commands, task: tokio::spawn(run(collector, receiver)) })
    }

    /// Swaps the settings while files are followed: of files that stay, no line is lost or doubled; files that go are
    /// read up to now.
    ///
    /// # Errors
    /// When the new settings cannot be kept on disk; the old ones stay in force.
    pub async fn apply(&self, settings: Logcollector) -> Result<Loaded, Error> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Apply(settings, answer)).await.map_err(|_| Error::Ended)?;
        answered.await.map_err(|_| Error::Ended)?
    }

    /// Reads what is there, writes it to the spool and ends.
    pub async fn stop(self) {
        // When the task has ended already there is nothing left to stop.
        let _ended = self.commands.send(Command::Stop).await;
        if let Err(error) = self.task.await {
            tracing::error!(%error, "logcollector did not end as it should");
        }
    }
}

/// Works on files only in the blocking pool: a slow disk must not hold up the agent's connection.
async fn run(mut collector: Collector, mut commands: mpsc::Receiver<Command>) {
    let mut pause = None;
    loop {
        let command = tokio::select! {
            command = commands.recv() => match command {
                Some(command) => Some(command),
                None => return,
            },
            () = sleep(pause) => None,
        };
        let worked = spawn_blocking(move || {
            let stopped = matches!(command, Some(Command::Stop));
            match command {
                Some(Command::Apply(settings, answer)) => {
                    // Nobody listens any more when the caller gave up; the settings are in force all the same.
                    let _unheard = answer.send(collector.apply(settings));
                }
                Some(Command::Stop) => collector.drain(),
                None => {}
            }
            let pause = if stopped { None } else { collector.round() };
            (collector, pause, stopped)
        });
        match worked.await {
            Ok((_, _, true)) => return,
            Ok((back, next, false)) => (collector, pause) = (back, next),
            Err(error) => {
                tracing::error!(%error, "logcollector failed; it is started again with the agent");
                return;
            }
        }
    }
}

/// Sleeps for ever when there is nothing to do.
async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
