//! The limit: what the broker alone needs for the operations that no task manager on it can do without, with nothing but
//! `async-nats` in between. Each part is measured by itself; their sum is the limit, and what works on several parts at
//! once can be below it.

mod batch;
mod parts;
mod samples;

use anyhow::Result;
use serde::Serialize;

pub use parts::Raw;
pub use samples::{Samples, Sizes, Spy};

use crate::tasks::Kind;

/// Seconds that each part took.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Limit {
    /// The agents' records read, 900 in a request; nothing for a type that rewrites none.
    pub records_read_s: f64,
    /// The records written, 900 in an atomic batch, each with the revision that was read.
    pub records_written_s: f64,
    /// The commands stored in atomic batches of 1,000.
    pub commands_stored_s: f64,
    /// They are fetched and acknowledged.
    pub commands_fetched_s: f64,
    /// They are pushed over core NATS, and each push is answered.
    pub pushed_s: f64,
    /// The results stored in atomic batches of 1,000.
    pub results_stored_s: f64,
    /// They are fetched and acknowledged.
    pub results_fetched_s: f64,
}

impl Limit {
    /// The sum of the parts.
    pub fn sum(&self) -> f64 {
        [
            self.records_read_s,
            self.records_written_s,
            self.commands_stored_s,
            self.commands_fetched_s,
            self.pushed_s,
            self.results_stored_s,
            self.results_fetched_s,
        ]
        .iter()
        .sum()
    }
}

/// Processor time of all parts.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Cost {
    /// The broker's, in microseconds an agent.
    pub broker: f64,
    /// That of this process, which has the agents' part in it.
    pub client: f64,
}

/// Measures all parts for such messages.
///
/// # Errors
/// When the server refuses something.
pub async fn limit(raw: &Raw, kind: Kind, samples: &Samples) -> Result<(Limit, Cost)> {
    raw.clear().await?;
    let before = raw.cpu()?;
    let (records_read_s, records_written_s) =
        if kind.rewrites_records() { raw.records(&samples.record).await? } else { (0.0, 0.0) };
    let commands_stored_s = raw.store_commands(kind, &samples.command).await?;
    let commands_fetched_s = raw.fetch(kind.stream()).await?;
    let pushed_s = raw.push(&samples.push, &samples.answer).await?;
    let results_stored_s = raw.store_results(&samples.result).await?;
    let results_fetched_s = raw.fetch("RESULTS").await?;
    let cost = raw.cost(before)?;
    let limit = Limit {
        records_read_s,
        records_written_s,
        commands_stored_s,
        commands_fetched_s,
        pushed_s,
        results_stored_s,
        results_fetched_s,
    };
    Ok((limit, cost))
}
