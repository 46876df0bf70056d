//! A program in a process group of its own, which can be killed as a whole.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::leftovers::MARK;
use crate::report::Exit;

/// The programs that a program may call by their bare names.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often a file that is being written is tried, and the pause between.
const BUSY: (u32, Duration) = (50, Duration::from_millis(20));

/// How a program is started.
pub(crate) struct Program<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Its working directory.
    pub home: &'a Path,
    /// What it and its children bear in their environment, so that they can be found.
    pub mark: &'a str,
}

/// The running group. Dropped before its end was seen, it is killed.
pub(super) struct Group {
    /// Not reaped before the last signal was sent: until then nobody else can have its number.
    leader: Option<Child>,
    id: Option<Pid>,
    /// Ends when the leader has.
    pub ended: oneshot::Receiver<()>,
}

/// The agent's ends of a program's standard streams.
pub(super) struct Pipes {
    pub input: pipe::Sender,
    pub output: pipe::Receiver,
    pub errors: pipe::Receiver,
}

impl Group {
    /// Starts the program. All else that can fail is done before, so an error means that it has not run at all.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) async fn start(program: &Program<'_>) -> io::Result<(Self, Pipes)> {
        let ((its_input, input), (output, its_output), (errors, its_errors)) = (io::pipe()?, io::pipe()?, io::pipe()?);
        let pipes = Pipes {
            input: pipe::Sender::from_owned_fd(OwnedFd::from(input))?,
            output: pipe::Receiver::from_owned_fd(OwnedFd::from(output))?,
            errors: pipe::Receiver::from_owned_fd(OwnedFd::from(errors))?,
        };
        let (send_id, id) = mpsc::channel();
        let (tell, ended) = oneshot::channel();
        thread::Builder::new().name("active-response".into()).spawn(move || {
            if let Ok(id) = id.recv() {
                wait_for_end(id);
            }
            // Nobody listens when the group was dropped.
            let _unheard = tell.send(());
        })?;
        let mut command = Command::new(program.path);
        command
            .args(program.arguments)
            .current_dir(program.home)
            .env_clear()
            .env("PATH", PATH)
            .env(MARK, program.mark)
            .stdin(its_input)
            .stdout(its_output)
            .stderr(its_errors)
            .process_group(0);
        let leader = spawn(&mut command).await?;
        let id = i32::try_from(leader.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            // The thread waits for it and for nothing else.
            let _heard = send_id.send(id);
        }
        Ok((Self { leader: Some(leader), id, ended }, pipes))
    }

    /// Sends a signal to all of the group.
    pub(super) fn signal(&self, signal: Signal) {
        if let (Some(id), Some(_)) = (self.id, &self.leader) {
            // Nobody is left to get it, or somebody who has become another user; there is no more that could be done.
            let _unheard = kill_process_group(id, signal);
        }
    }

    /// How the leader ended; `None` when it cannot be known. To be called once it has ended.
    pub(super) fn reap(mut self) -> Option<Exit> {
        let status = self.leader.take()?.wait().ok()?;
        exit(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut leader) = self.leader.take() {
            // Its end may take a while, and this must not. Without a thread it stays a zombie, which does no harm.
            let _unseen = thread::Builder::new().name("active-response".into()).spawn(move || leader.wait());
        }
    }
}

async fn spawn(command: &mut Command) -> io::Result<Child> {
    for _ in 0..BUSY.0 {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => tokio::time::sleep(BUSY.1).await,
            other => return other,
        }
    }
    command.spawn()
}

/// Waits until the process has ended, and leaves it as it is.
fn wait_for_end(id: Pid) {
    while let Err(Errno::INTR) = waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
}

fn exit(status: ExitStatus) -> Option<Exit> {
    status.code().map(Exit::Code).or_else(|| status.signal().map(Exit::Signal))
}
