//! The report: what was measured, as `target/bench/report.json` has it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::latency::{Latency, Sustained};
use crate::newcomers::Newcomers;
use crate::raw::{Cost, Limit, Sizes};
use crate::rollout::Rollout;
use crate::statistics::{Spread, median};
use crate::system::Arrival;
use crate::tasks::Kind;

/// All that was measured.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// When the bench ended, RFC 3339.
    pub at: String,
    /// So often each rollout was measured, after one that only warms up.
    pub repeat: usize,
    /// The load average of the machine before the bench: what others do there is in all numbers.
    pub load: f64,
    /// The main type, `group-configuration`: a new configuration for all agents, one object for each number of agents.
    pub runs: Vec<Run>,
    /// The other types, in the same form.
    pub other_types: Vec<Run>,
    /// How the fleets enrolled.
    pub enrolments: Vec<Arrival>,
    /// How agents came in over connections of their own.
    pub newcomers: Option<Newcomers>,
    /// The most memory of each process in bytes at the end of all measurements, by the number of agents.
    pub peak_memory_bytes: BTreeMap<u32, BTreeMap<String, u64>>,
    /// A task to one agent of the largest fleet.
    pub latency: Option<Latencies>,
}

/// How soon a task to one agent starts.
#[derive(Debug, Serialize)]
pub struct Latencies {
    /// On a system at rest.
    pub idle: Latency,
    /// While a rollout of another type to all agents runs.
    pub beside_rollout: Latency,
    /// When small tasks of one type come at a steady rate: a type whose tasks run side by side, and one whose tasks run
    /// one after the other.
    pub sustained: Vec<Sustained>,
}

/// One type with one number of agents: the medians of the repeats, and their spread.
#[derive(Debug, Serialize)]
pub struct Run {
    /// The task type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The number of agents.
    pub n: u32,
    /// Seconds from the submission to the final status.
    pub t_final_s: f64,
    /// Seconds from the submission until the result of half of the agents was stored.
    pub confirmed_p50_s: f64,
    /// Of 99 of 100.
    pub confirmed_p99_s: f64,
    /// Microseconds of processor time an agent: the broker's.
    pub cpu_us_per_agent_broker: f64,
    /// That of all other processes, the fleet too.
    pub cpu_us_per_agent_rest: f64,
    /// The same by process.
    pub cpu_us_per_agent: BTreeMap<String, f64>,
    /// The most memory that the broker has had, from its start until after these runs, in bytes.
    pub peak_memory_bytes_broker: u64,
    /// The same by process.
    pub peak_memory_bytes: BTreeMap<String, u64>,
    /// By how much the server's files grew, in bytes an agent.
    pub disk_bytes_per_agent: f64,
    /// Whether in each repeat the counts were what the agents themselves did.
    pub exact: bool,
    /// Seconds of the raw operations, one after the other.
    pub limit_s: f64,
    /// `t_final_s` by `limit_s`.
    pub ratio: f64,
    /// The parts of the limit.
    pub limit: Limit,
    /// Processor time of the limit, microseconds an agent.
    pub limit_cpu_us_per_agent: Cost,
    /// The sizes of the messages, which the raw operations have too, in bytes.
    pub sizes: Sizes,
    /// How far the repeats lie apart.
    pub spread: Spreads,
    /// The highest load average before a repeat.
    pub load: f64,
}

/// The least and the most of the repeats.
#[derive(Debug, Serialize)]
pub struct Spreads {
    /// Of the seconds to the final status.
    pub t_final_s: Spread,
    /// Of the limit.
    pub limit_s: Spread,
    /// Of the ratio of each pair: a limit is measured right after its rollout.
    pub ratio: Spread,
}

impl Run {
    /// Sums up the repeats.
    pub fn of(
        kind: Kind,
        n: u32,
        sizes: Sizes,
        pairs: &[(Rollout, Limit)],
        costs: &[Cost],
        peak_memory_bytes: BTreeMap<String, u64>,
    ) -> Self {
        let all = |of: fn(&(Rollout, Limit)) -> f64| pairs.iter().map(of).collect::<Vec<f64>>();
        let mid = |of| median(&all(of));
        let names = pairs.first().map(|(rollout, _)| rollout.cpu_us_per_agent.keys().cloned()).into_iter().flatten();
        let cpu = |name: &String| {
            let values = pairs.iter().filter_map(|(rollout, _)| rollout.cpu_us_per_agent.get(name).copied());
            median(&values.collect::<Vec<f64>>())
        };
        let cpu_us_per_agent: BTreeMap<String, f64> = names.map(|name| (name.clone(), cpu(&name))).collect();
        let broker = cpu_us_per_agent.get("broker").copied().unwrap_or_default();
        let (t_final_s, limit_s) = (mid(|(rollout, _)| rollout.t_final_s), mid(|(_, limit)| limit.sum()));
        Self {
            kind: kind.task_type().name(),
            n,
            t_final_s,
            confirmed_p50_s: mid(|(rollout, _)| rollout.confirmed_p50_s),
            confirmed_p99_s: mid(|(rollout, _)| rollout.confirmed_p99_s),
            cpu_us_per_agent_broker: broker,
            cpu_us_per_agent_rest: cpu_us_per_agent.values().sum::<f64>() - broker,
            cpu_us_per_agent,
            peak_memory_bytes_broker: peak_memory_bytes.get("broker").copied().unwrap_or_default(),
            peak_memory_bytes,
            disk_bytes_per_agent: mid(|(rollout, _)| rollout.disk_bytes_per_agent),
            exact: pairs.iter().all(|(rollout, _)| rollout.exact),
            limit_s,
            ratio: t_final_s / limit_s,
            limit: Limit {
                records_read_s: mid(|(_, limit)| limit.records_read_s),
                records_written_s: mid(|(_, limit)| limit.records_written_s),
                commands_stored_s: mid(|(_, limit)| limit.commands_stored_s),
                commands_fetched_s: mid(|(_, limit)| limit.commands_fetched_s),
                pushed_s: mid(|(_, limit)| limit.pushed_s),
                results_stored_s: mid(|(_, limit)| limit.results_stored_s),
                results_fetched_s: mid(|(_, limit)| limit.results_fetched_s),
            },
            limit_cpu_us_per_agent: Cost {
                broker: median(&costs.iter().map(|cost| cost.broker).collect::<Vec<f64>>()),
                client: median(&costs.iter().map(|cost| cost.client).collect::<Vec<f64>>()),
            },
            sizes,
            spread: Spreads {
                t_final_s: Spread::of(&all(|(rollout, _)| rollout.t_final_s)),
                limit_s: Spread::of(&all(|(_, limit)| limit.sum())),
                ratio: Spread::of(&all(|(rollout, limit)| rollout.t_final_s / limit.sum())),
            },
            load: Spread::of(&all(|(rollout, _)| rollout.load)).most,
        }
    }
}

impl Report {
    /// The runs of all types.
    pub fn all(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().chain(&self.other_types)
    }
}
