//! `make chaos`: kills real processes for as long as it is told, and says what it found.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Parser;
use muster_chaos::{Options, run};
use tokio::signal::unix::{SignalKind, signal};

/// Kills and stops the processes of a whole system while tasks run, and checks what comes of it
#[derive(Debug, Parser)]
#[command(name = "muster-chaos")]
struct Arguments {
    /// Decides what happens [default: a random one, which is printed]
    #[arg(long)]
    seed: Option<u64>,
    /// How many rounds at most
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How many virtual agents
    #[arg(long, default_value_t = 20_000)]
    agents: u32,
    /// After so many minutes no new round begins
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// For how many seconds of each round tasks are published and processes hit
    #[arg(long, default_value_t = 60)]
    load: u64,
    /// How many tasks each round publishes
    #[arg(long, default_value_t = 30)]
    tasks: usize,
    /// Do not wait some minutes in each round for deadlines of ended tasks to go away
    #[arg(long)]
    quick: bool,
    /// Where the report is written
    #[arg(long, default_value = "target/chaos")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let asked = Arguments::parse();
    let options = Options {
        seed: asked.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        rounds: asked.rounds.max(1),
        agents: asked.agents.max(1),
        within: Duration::from_secs(asked.minutes * 60),
        load: Duration::from_secs(asked.load.max(1)),
        tasks: asked.tasks,
        deadlines: !asked.quick,
        out: asked.out,
    };
    println!("chaos: seed {} (SEED={} makes the same choices again)", options.seed, options.seed);
    // Dropping the run ends its processes.
    let (mut end, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let report = tokio::select! {
        report = run(&options) => report?,
        _ = end.recv() => bail!("told to end"),
        _ = hangup.recv() => bail!("told to end"),
        told = tokio::signal::ctrl_c() => bail!("told to end: {told:?}"),
    };
    print!("{}", report.summary());
    println!("chaos: {}", options.out.join("report.json").display());
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
