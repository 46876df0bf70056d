//! Real processes killed and stopped at random moments while tasks run, and what a checker that shares no crate with the
//! product finds afterwards.
//!
//! A run is one system: a nats-server with the durable settings of `nats/server.conf`, functions and services in several
//! copies, server nodes, a virtual fleet in a process of its own and a few real agents. Each round publishes a mix of
//! tasks, kills and stops processes meanwhile, starts again what it killed, waits for every task's end, and checks the
//! whole. A seed decides what is asked for, what is hit, and when; which instruction a process is hit at is the
//! machine's doing.
//!
//! Messages are redelivered after two seconds instead of thirty, so that one stopped for longer wakes into work that
//! another has taken over.

mod faults;
mod load;
mod names;
mod report;
mod round;
mod site;
mod timeline;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

pub use report::{Report, Round};

/// What a run is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Decides what happens.
    pub seed: u64,
    /// How many rounds at most.
    pub rounds: u32,
    /// How many virtual agents.
    pub agents: u32,
    /// After this no new round begins.
    pub within: Duration,
    /// For how long tasks are published and processes hit in each round.
    pub load: Duration,
    /// How many tasks each round publishes.
    pub tasks: usize,
    /// Whether to wait until deadlines of ended tasks are gone, up to some minutes, and check that they are.
    pub deadlines: bool,
    /// Where the report is written, and the logs of a run that found something.
    pub out: PathBuf,
}

/// Carries out a run. What was found wrong is in the report.
///
/// # Errors
/// When the system cannot be started or read: then nothing is known.
pub async fn run(options: &Options) -> Result<Report> {
    let began = Instant::now();
    let mut report = Report::new(options);
    let mut site = site::Site::start(options).await?;
    println!("chaos: seed {}, {} agents enrolled after {:.0?}", options.seed, options.agents, began.elapsed());
    for n in 1..=options.rounds {
        if n > 1 && began.elapsed() >= options.within {
            break;
        }
        let round = round::round(&mut site, options, n).await?;
        println!("chaos: {}", round.line());
        let wrong = !round.violations.is_empty();
        report.rounds.push(round);
        report.write(&options.out)?;
        if wrong {
            site.keep_logs(&options.out)?;
            break;
        }
    }
    Ok(report)
}
