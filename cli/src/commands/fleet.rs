//! `muster fleet`: virtual agents, many in one process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use muster_agent::fleet::{Count, Settings};
use muster_agent::link::Access;
use muster_core::configuration::duration;
use muster_keys::{Key, Keys};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::agent::{address, label};
use crate::exit::Exit;
use crate::output::{print_json, say};

/// How often it is told how they get on, when that has changed.
const INTERVAL: Duration = Duration::from_secs(2);

/// Who they are and how they behave. They need the seed of the server's user `fleet`: MUSTER_KEYS names the directory
/// with it, <dir>/keys of muster up [default: ./.muster/keys]
#[derive(Debug, Args)]
pub(crate) struct Fleet {
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 10)]
    count: u32,
    /// Their names are this, a dash and a number of five digits
    #[arg(long, default_value = "virtual")]
    prefix: String,
    /// The version of their program
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    version: String,
    /// A label, such as site=a; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// How long a command takes, such as 20ms
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = span)]
    latency: Duration,
    /// At most how much longer it takes, such as 10ms
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = span)]
    jitter: Duration,
    /// How many commands fail, such as 5% or 0.05
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    fail: f64,
    /// How many agents are away from the start
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    offline: f64,
    /// How many answers are given twice
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    duplicates: f64,
    /// The same prefix and seed are the same agents, which make the same choices
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Writes what each agent holds and did to this file, a line of JSON each: at the end, and at each SIGUSR1
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Fleet {
    fn settings(self, url: Option<String>) -> anyhow::Result<Settings> {
        let seed = Keys::from_environment().pair(Key::Fleet)?.seed()?;
        let access = Access { url: address(url), seed: seed.into(), token: None };
        Ok(Settings {
            prefix: self.prefix,
            seed: self.seed,
            version: self.version,
            labels: self.label.into_iter().collect(),
            latency: self.latency,
            jitter: self.jitter,
            failures: self.fail,
            offline: self.offline,
            duplicates: self.duplicates,
            diary: self.report.is_some(),
            ..Settings::new(access, self.count)
        })
    }
}

fn span(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| format!("'{text}' is no duration such as 20ms, 5s, 1m"))
}

/// A share between 0 and 1, written so or in per cent.
fn share(text: &str) -> Result<f64, String> {
    let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.parse::<f64>().map(|number| number / whole).ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("'{text}' is no share such as 5% or 0.05"))
}

/// Runs the agents until SIGTERM or SIGINT; tells on stderr how they get on, and in the end writes what they did.
pub(crate) async fn fleet(options: Fleet, url: Option<String>) -> anyhow::Result<Exit> {
    muster_runtime::log();
    let (shutdown, report) = (CancellationToken::new(), options.report.clone());
    let mut asked = signal(SignalKind::user_defined1())?;
    muster_runtime::on_signal(shutdown.clone())?;
    let started = tokio::select! {
        started = muster_agent::fleet::fleet(options.settings(url)?, shutdown.clone()) => Some(started?),
        // The start may be waiting for a server that is not there.
        () = shutdown.cancelled() => None,
    };
    let Some(fleet) = started else { return Ok(Exit::Done) };
    let mut told = String::new();
    loop {
        let line = line(fleet.ids().len(), fleet.online(), &fleet.counts());
        if line != told {
            say(&line);
            told = line;
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = asked.recv() => write(&fleet, report.as_deref())?,
            () = shutdown.cancelled() => break,
        }
    }
    write(&fleet, report.as_deref())?;
    print_json(&document(fleet.ids().len(), fleet.online(), &fleet.counts()))?;
    Ok(Exit::Done)
}

/// Writes the accounts of all agents, if that is asked for. Whoever reads the file finds it whole.
fn write(fleet: &muster_agent::fleet::Fleet, report: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = report else { return Ok(()) };
    let accounts = || -> io::Result<()> {
        let unfinished = path.with_extension("unfinished");
        let mut file = BufWriter::new(File::create(&unfinished)?);
        for account in fleet.accounts() {
            serde_json::to_writer(&mut file, &account)?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
        fs::rename(unfinished, path)
    };
    accounts().with_context(|| format!("the report {} cannot be written", path.display()))
}

fn line(agents: usize, online: usize, counts: &BTreeMap<String, Count>) -> String {
    let sum = |field: fn(&Count) -> u64| counts.values().map(field).sum::<u64>();
    let (done, failed) = (sum(|count| count.succeeded), sum(|count| count.failed));
    format!("{agents} agents, {online} online; {} tasks: {done} done, {failed} failed", counts.len())
}

fn document(agents: usize, online: usize, counts: &BTreeMap<String, Count>) -> Value {
    let one = |count: &Count| {
        json!({
            "executed": count.executed, "succeeded": count.succeeded, "failed": count.failed,
            "successes_reported": count.successes_reported, "failures_reported": count.failures_reported,
        })
    };
    let tasks: BTreeMap<&String, Value> = counts.iter().map(|(task, count)| (task, one(count))).collect();
    json!({ "agents": agents, "online": online, "tasks": tasks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_they_did() {
        let web = Count { executed: 5, succeeded: 4, failed: 1, successes_reported: 6, failures_reported: 1 };
        let counts = BTreeMap::from([
            ("web".to_owned(), web),
            ("db".to_owned(), Count { executed: 2, succeeded: 2, ..Count::default() }),
        ]);
        assert_eq!(line(10, 9, &counts), "10 agents, 9 online; 2 tasks: 6 done, 1 failed");
        assert_eq!(document(10, 9, &counts)["tasks"]["web"]["successes_reported"], 6);
    }

    #[test]
    fn shares() {
        assert_eq!((share("5%"), share("0.05"), share("100%"), share("0")), (Ok(0.05), Ok(0.05), Ok(1.0), Ok(0.0)));
        for bad in ["", "%", "101%", "1.5", "-1", "NaN", "five"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
