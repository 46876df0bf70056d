//! The child between `muster up` and its nats-server, which it becomes.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

/// Makes sure that the server ends with its parent, however that ends, and then becomes the server: the wish to be
/// told of the parent's death outlives the change of program.
#[derive(Debug, Args)]
pub(crate) struct Guard {
    /// The process that must not be outlived.
    #[arg(long)]
    parent: i32,
    /// The server's command line.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Guard {
    /// Returns only when it did not work.
    pub(crate) fn become_it(self) -> anyhow::Result<ExitCode> {
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
        // It may have died before.
        let parent = rustix::process::getppid().map(rustix::process::Pid::as_raw_nonzero);
        ensure!(parent.is_some_and(|pid| pid.get() == self.parent), "the process that started this one has ended");
        let [program, arguments @ ..] = self.command.as_slice() else { bail!("no command") };
        Err(Command::new(program).args(arguments).exec()).context("nats-server cannot be run")
    }
}
