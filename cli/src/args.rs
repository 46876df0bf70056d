//! The command line.

use std::os::unix::process::CommandExt as _;
use std::process::Command as Process;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::commands::{agent, completions, fleet, group, keys, node, provision, run, task, token, up, why};
use crate::output::Output;
use crate::server::Guard;

/// Tasks for fleets of agents, on NATS.
#[derive(Debug, Parser)]
#[command(name = "muster", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process, with a NATS server of its own
    Up(up::Up),
    /// Make the keys of a NATS server of your own, and write the variables that nats/server.conf asks for
    Keys(keys::Keys),
    /// Make the streams, consumers and buckets, or show what stands otherwise than the files say
    Provision(provision::Provision),
    /// Run one function or service
    Run(run::Run),
    /// Run an agent; list and show agents
    #[command(subcommand)]
    Agent(agent::Agent),
    /// Run virtual agents, many in one process
    Fleet(fleet::Fleet),
    /// Submit, plan, show, watch, list, retry and cancel tasks
    #[command(subcommand)]
    Task(task::Task),
    /// List, show, make, delete and fill groups
    #[command(subcommand)]
    Group(group::Group),
    /// List and show server nodes
    #[command(subcommand)]
    Node(node::Node),
    /// Make, list and revoke the tokens with which new agents enrol
    #[command(subcommand)]
    Token(token::Command),
    /// Say why a task did, or did not do, what it should with an agent; no service needs to run for it
    Why(why::Why),
    /// Look whether all is well: topology, durability, consumers, functions, tasks. 0 all is well, 1 something was
    /// found, 2 it could not look
    Doctor,
    /// Write the completions of a shell, for example: source <(muster completions bash)
    Completions(completions::Completions),
    /// What `up` starts its NATS server through
    #[command(hide = true)]
    Guard(Guard),
}

/// Options of all commands.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// How data is written on stdout
    #[arg(long, short, global = true, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// The NATS server, for example nats://host:4222; NATS_CREDS and so on say who you are
    #[arg(long, global = true, env = "NATS_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// A context of the stock CLI (nats context ls)
    #[arg(long, global = true, env = "NATS_CONTEXT")]
    context: Option<String>,
}

impl Cli {
    /// Makes options what they stand for, variables, which every part of this process reads: a process cannot safely
    /// set its own variables, so it starts itself anew with them, as the same process.
    pub(crate) fn enter(&self) -> anyhow::Result<()> {
        let sync_interval = if let Command::Up(up) = &self.command { up.sync_interval } else { None };
        let wanted = [
            ("NATS_URL", self.globals.url.clone()),
            ("NATS_CONTEXT", self.globals.context.clone()),
            ("MUSTER_SYNC_INTERVAL", sync_interval.map(|seconds| seconds.to_string())),
        ];
        let wanted = wanted.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let missing: Vec<_> = wanted.filter(|(name, value)| std::env::var(name).ok().as_ref() != Some(value)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut again = Process::new(std::env::current_exe().context("this program's own file is not known")?);
        again.args(std::env::args_os().skip(1)).envs(missing);
        Err(again.exec()).context("the program could not start itself with the variables that its options stand for")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lines_that_people_type() {
        for line in [
            "muster up",
            "muster up --dir d --port 4333 --sync-interval 2",
            "muster --url nats://h:1 up --no-server",
            "muster provision --apply --replicas 3",
            "muster run group-assignment",
            "muster run --list",
            "muster fleet --count 1000 --latency 20ms --jitter 10ms --fail 5% --offline 10% --duplicates 1% --seed 7",
            "muster fleet --count 1 --prefix v --label site=a --label tier=b --version 5.0.1",
            "muster task submit group-assignment - --wait",
            "muster task submit group-configuration --group web --content-file f.yaml --create --wait",
            "muster task submit group-assignment --agent 001,002 --group db --args {}",
            "muster task submit group-assignment --target {} --id x --deliver-until 5m --timeout 10",
            "muster task watch t0-1 --output json",
            "muster task cancel t0-1 --reason why",
            "muster task list -o json",
            "muster task plan group-assignment --all --args {} --output json",
            "muster task submit group-assignment {} --wait --wait-timeout 5m",
            "muster task watch t0-1 --wait-timeout 90s",
            "muster task watch t0-1 --timeout 90s",
            "muster task targets t0-1 --status failure --all -o json",
            "muster task retry t0-1 --status failure,timeout --id again --wait --wait-timeout 1m",
            "muster why t0-1 001",
            "muster agent sca 001 --policy cis_debian12 -o json",
            "muster agent vulnerabilities 001 -o json",
            "muster doctor -o json",
            "muster completions zsh",
            "muster group delete web --wait-timeout 2s",
            "muster group create web --file web.yaml",
            "muster group assign web,db --all --wait",
            "muster group replace --agent 001",
            "muster agent list --query os=linux --limit 3",
            "muster agent show 001",
            "muster agent run --root d --name a --label site=a --url nats://h:1",
            "muster agent run --root d --token t",
            "muster agent run --root d --token-file f",
            "muster up --closed",
            "muster token create",
            "muster token create --name lab --expires 7d -o json",
            "muster token list",
            "muster token revoke lab",
        ] {
            parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn lines_that_make_no_sense() {
        for line in [
            "muster",
            "muster run",
            "muster run no-such-part",
            "muster up --host 0.0.0.0",
            "muster up --sync-interval never",
            "muster fleet --count 10 --fail 101%",
            "muster fleet --count 10 --latency fast",
            "muster provision --replicas 0",
            "muster provision --replicas 6",
            "muster task submit rbac-change {} --file f",
            "muster task submit rbac-change --all --target {}",
            "muster task submit rbac-change --timeout soon",
            "muster task submit rbac-change --create",
            "muster group assign --all",
            "muster group assign web --all --wait-timeout 5m",
            "muster task retry t0-1 --status success",
            "muster task targets t0-1 --all --limit 5",
            "muster task watch t0-1 --wait-timeout soon",
            "muster task list --state done",
            "muster task list --before t0-17",
            "muster why t0-1",
            "muster token create --expires 0s",
            "muster token create --expires 400d",
            "muster token create --name a/b",
            "muster agent run --root d --token t --token-file f",
            "muster completions sh",
            "muster task list --output yaml",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
