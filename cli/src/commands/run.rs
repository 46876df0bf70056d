//! `muster run`: one function or service in this process.

use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::exit::Exit;
use crate::output::print;
use crate::parts;

/// Which part.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A task type or a service
    #[arg(required_unless_present = "list", value_parser = PossibleValuesParser::new(parts::names()))]
    name: Option<String>,
    /// List the names
    #[arg(long)]
    list: bool,
}

/// Runs it until SIGTERM or SIGINT.
pub(crate) fn run(run: &Run) -> anyhow::Result<ExitCode> {
    match run.name.as_deref().and_then(parts::named) {
        Some(part) if !run.list => Ok(muster_runtime::main(part.name, part.run)),
        _ => print(&parts::names().join("\n")).map(|()| Exit::Done.into()),
    }
}
