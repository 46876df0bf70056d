//! `muster fleet`: virtual agents, many in one process.

use std::time::Duration;

use clap::Args;
use muster_core::configuration::duration;

use super::agent::{User, label};
use crate::exit::Exit;
use crate::output::print;

/// Who they are and how they behave.
#[derive(Debug, Args)]
pub(crate) struct Fleet {
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 10)]
    count: u32,
    /// Their names are this, a dash and a number
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
    /// By how much that varies: 0.5 is half as long to half as long again
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    jitter: f64,
    /// How many commands fail, such as 5% or 0.05
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    fail: f64,
    /// How many agents are away
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    offline: f64,
    /// How many reports are sent twice
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    duplicates: f64,
    /// The same seed makes the same choices
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    user: User,
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

pub(crate) async fn fleet(_fleet: Fleet, _url: Option<String>) -> anyhow::Result<Exit> {
    print("")?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!((share("5%"), share("0.05"), share("100%"), share("0")), (Ok(0.05), Ok(0.05), Ok(1.0), Ok(0.0)));
        for bad in ["", "%", "101%", "1.5", "-1", "NaN", "five"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
