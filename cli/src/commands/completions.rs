//! `muster completions`: what a shell needs to complete a line.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use crate::args::Cli;
use crate::exit::Exit;
use crate::output::print;

/// For which shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Writes them to stdout.
    pub(crate) fn print(&self) -> anyhow::Result<Exit> {
        // Not to stdout directly: it would panic on a broken pipe.
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "muster", &mut script);
        print(&String::from_utf8_lossy(&script)).map(|()| Exit::Done)
    }
}
