//! The server as a child process.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::{Variables, root};
use crate::process::{Process, Signal};

#[derive(Debug)]
pub(super) struct Local {
    port: u16,
    variables: Variables,
    // Before the store: the process ends first.
    process: Process,
    store: TempDir,
}

impl Local {
    pub(super) fn start(port: u16, variables: Variables) -> Result<Self> {
        let store = tempfile::tempdir()?;
        Ok(Self { port, process: spawn(port, &variables, &store)?, variables, store })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn store(&self) -> &Path {
        self.store.path()
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        self.ensure_running()?;
        self.process.kill()
    }

    pub(super) async fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        self.process.wait_exit(Duration::from_secs(30)).await?;
        Ok(())
    }

    pub(super) async fn restart(&mut self) -> Result<()> {
        if self.process.is_running()? {
            self.stop().await?;
        }
        self.process = spawn(self.port, &self.variables, &self.store)?;
        Ok(())
    }

    pub(super) fn ensure_running(&mut self) -> Result<()> {
        ensure!(self.process.is_running()?, "nats-server has ended:\n{}", self.process.log());
        Ok(())
    }
}

fn spawn(port: u16, variables: &Variables, store: &TempDir) -> Result<Process> {
    let fetched = root().join(".tools/bin/nats-server");
    let mut command = match fetched.is_file() {
        true => Command::new(fetched),
        false => Command::new("nats-server"),
    };
    command
        .arg("-c")
        .arg(root().join("nats/server.conf"))
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .arg("-sd")
        .arg(store.path())
        .envs(variables.iter().map(|(name, value)| (name, value)));
    Process::start(command).map_err(|error| error.context("run deploy/get-nats-server"))
}
