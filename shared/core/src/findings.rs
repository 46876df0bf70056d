//! What agents report beside the results of tasks: what their modules found on the machine.

use std::str::FromStr;
use std::sync::LazyLock;

use crate::problem::{Refusal, refuse};
use crate::schema::Schema;

/// The bucket in which the gateway keeps the last of each kind.
pub const BUCKET: &str = "findings";

/// The largest report of findings, in bytes; who has more leaves something out and says how much.
pub const MAX_FINDINGS: usize = 256 * 1024;

/// The largest packed inventory of an agent's packages, in bytes: it fits into a message of 1 MiB.
pub const MAX_INVENTORY: usize = 1_000_000;

/// The subject at which server nodes match an inventory with what they know; `.<node>` asks a certain one.
pub const MATCH: &str = "node.vulnerabilities.match";

/// The header of such a question with the feed's offset at which the node must stand, or beyond.
pub const OFFSET: &str = "Muster-Offset";

static SCA: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| Schema::compile(include_str!("../../../schemas/sca-findings.json")));

/// What is found. Agents report it on `agent.<id>.findings.<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// What became of the checks of the SCA policies.
    Sca,
    /// Which vulnerabilities its packages have. A server node finds them, and no agent may report them.
    Vulnerabilities,
}

impl Finding {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sca, Self::Vulnerabilities];

    /// Its name in subjects and keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sca => "sca",
            Self::Vulnerabilities => "vulnerabilities",
        }
    }

    /// The key in [`BUCKET`] of an agent's.
    pub fn key(self, agent: &str) -> String {
        format!("{}.{agent}", self.name())
    }

    /// Checks what an agent reports.
    ///
    /// # Errors
    /// `not-reported` for what no agent reports, `too-large` beyond [`MAX_FINDINGS`], `json`, or `schema` with the pointers into it.
    pub fn check(self, payload: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::Sca => Schema::read(&SCA, payload, MAX_FINDINGS).map(drop),
            Self::Vulnerabilities => refuse("not-reported", "", "server nodes find them; ask with agent.<id>.packages"),
        }
    }
}

impl FromStr for Finding {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|what| what.name() == name);
        found.ok_or_else(|| format!("'{name}' is nothing that agents find"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_reported_is_bounded_and_checked() {
        let refused = |payload: &[u8]| {
            let problem = Finding::Sca.check(payload).unwrap_err().remove(0);
            (problem.code, problem.pointer)
        };
        assert_eq!(Finding::Sca.check(br#"{"policies":[]}"#), Ok(()));
        assert_eq!(refused(br#"{"policies":[],"x":1}"#), ("schema".into(), "/x".into()));
        assert_eq!(refused(br#"{"policies":[{"name":"../x","digest":"","scanned":"","report":{}}]}"#).0, "schema");
        assert_eq!(refused(b"").0, "json");
        assert_eq!(refused(&vec![b'['; MAX_FINDINGS]).0, "json");
        assert_eq!(refused(&vec![b' '; MAX_FINDINGS + 1]).0, "too-large");
        assert_eq!(Finding::Vulnerabilities.check(b"{}").unwrap_err()[0].code, "not-reported");
        assert_eq!((Finding::Sca.key("007"), "x".parse::<Finding>().is_err()), ("sca.007".into(), true));
    }
}
