//! A point in an order that survives a restore: an epoch, and a number within it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An epoch and a number, compared in that order; written `<epoch>-<number>`.
///
/// It is the order of a task (the number is its place in the TASKS stream) and the version of a lane (the number is
/// the record's count of changes). The epoch rises when a server is restored from a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stamp {
    /// How often the server's data was restored.
    pub epoch: u32,
    /// The number within the epoch.
    pub number: u64,
}

impl Stamp {
    /// The stamp of `number` in `epoch`.
    pub const fn new(epoch: u32, number: u64) -> Self {
        Self { epoch, number }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.number)
    }
}

impl From<Stamp> for String {
    fn from(stamp: Stamp) -> Self {
        stamp.to_string()
    }
}

impl FromStr for Stamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let parts = text.split_once('-').filter(|(epoch, number)| digits(epoch) && digits(number));
        let stamp = parts.and_then(|(epoch, number)| Some(Self::new(epoch.parse().ok()?, number.parse().ok()?)));
        stamp.ok_or_else(|| format!("'{text}' is not of the form <epoch>-<number>"))
    }
}

impl TryFrom<String> for Stamp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_epoch_outweighs_every_number() {
        let old: Stamp = "0-999".parse().unwrap();
        let new: Stamp = "1-1".parse().unwrap();
        assert!(old < new);
        assert_eq!(new.to_string(), "1-1");
        assert!("7".parse::<Stamp>().is_err() && "1-".parse::<Stamp>().is_err() && "+1-2".parse::<Stamp>().is_err());
    }
}
