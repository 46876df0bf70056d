//! `muster`: one binary for people. It runs the system, a part of it, or agents, and asks the running system.
//!
//! Data goes to stdout, all else to stderr. What the exit codes say is in [`exit`].

mod args;
mod ask;
mod commands;
pub mod exit;
mod output;
mod parts;
mod progress;
mod server;
mod submission;
mod wait;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;

use crate::args::{Cli, Command};
use crate::exit::Exit;
use crate::output::Output;

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let (output, url) = (cli.globals.output, cli.globals.url.clone());
    let end = cli.enter().and_then(|()| match cli.command {
        Command::Run(run) => commands::run::run(&run),
        Command::Guard(guard) => guard.become_it(),
        Command::Completions(completions) => completions.print().map(Into::into),
        command => Ok(Builder::new_multi_thread().enable_all().build()?.block_on(work(output, url, command))?.into()),
    });
    end.unwrap_or_else(|error| exit::failed(&error, output).into())
}

async fn work(output: Output, url: Option<String>, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Up(up) => commands::up::up(up).await,
        Command::Provision(provision) => commands::provision::provision(output, &provision).await,
        Command::Agent(agent) => commands::agent::agent(output, url, agent).await,
        Command::Fleet(fleet) => commands::fleet::fleet(fleet, url).await,
        Command::Task(task) => commands::task::task(output, task).await,
        Command::Group(group) => commands::group::group(output, group).await,
        Command::Node(node) => commands::node::node(output, node).await,
        Command::Token(command) => commands::token::token(output, command).await,
        Command::Doctor => commands::doctor::doctor(output).await,
        Command::Why(why) => commands::why::why(output, &why).await,
        // These have no runtime of ours around them.
        Command::Run(_) | Command::Guard(_) | Command::Completions(_) => Ok(Exit::Done),
    }
}
