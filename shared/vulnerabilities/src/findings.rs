//! What a scan says.

use serde::{Deserialize, Serialize};

use crate::cve_id::CveId;
use crate::severity::Severity;

/// What is known of the packages of one system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The offset of the database that this was found with.
    pub offset: u64,
    /// How many packages were compared with the database.
    pub scanned: u32,
    /// How many of them no record of this distribution names. The distribution has never spoken of them; packages of others
    /// are among them.
    pub unlisted: u32,
    /// How many findings there are.
    pub counts: Counts,
    /// How many statements cannot be judged.
    pub unjudged: u32,
    /// How many findings and statements are left out below, for there are too many.
    #[serde(default, skip_serializing_if = "is_none")]
    pub left_out: u32,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What cannot be judged: none of it is known to be safe.
    pub undetermined: Vec<Undetermined>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

impl Findings {
    /// As many as fit into about so many bytes of JSON, the worst first; the counts stay.
    #[must_use]
    pub fn within(mut self, bytes: usize) -> Self {
        let (mut room, mut left_out) = (bytes, 0);
        let mut fits = |size: usize| match room.checked_sub(size + 1) {
            Some(rest) => {
                room = rest;
                true
            }
            None => {
                // From the first one that does not fit all are left out.
                room = 0;
                left_out += 1;
                false
            }
        };
        self.findings.retain(|finding| fits(size(finding)));
        self.undetermined.retain(|statement| fits(size(statement)));
        self.left_out += left_out;
        self
    }
}

fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

/// Findings by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the severities say it")]
pub struct Counts {
    pub critical: u32,
    pub high: u32,
    pub medium: u32,
    pub low: u32,
    pub none: u32,
    pub unknown: u32,
}

impl Counts {
    pub(crate) fn count(&mut self, severity: Severity) {
        *match severity {
            Severity::Critical => &mut self.critical,
            Severity::High => &mut self.high,
            Severity::Medium => &mut self.medium,
            Severity::Low => &mut self.low,
            Severity::None => &mut self.none,
            Severity::Unknown => &mut self.unknown,
        } += 1;
    }
}

/// An installed package that has a vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The vulnerability.
    pub cve: CveId,
    /// The package.
    pub package: String,
    /// The version that is installed.
    pub version: String,
    /// Its architecture.
    pub arch: String,
    /// The first version without the vulnerability, of the package or of the source package that it was judged by. None: there
    /// is none yet, or the feed does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
}

/// What could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Undetermined {
    /// Why.
    pub reason: Reason,
    /// The vulnerability. None: all of the package's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cve: Option<CveId>,
    /// The package. None: all packages of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The version that is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Why something could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing was ever loaded into the database.
    EmptyDatabase,
    /// The feed does not speak of this distribution, or the system does not say which release it is.
    UnknownDistribution,
    /// The feed says nothing of this release.
    UnknownRelease,
    /// The package is of another package manager than the distribution's.
    ForeignFormat,
    /// The installed version is none that its package manager would take.
    InvalidVersion,
    /// The feed says that it does not know.
    FeedUnknown,
    /// The feed's statement cannot be read.
    FeedUnreadable,
    /// The feed says both, affected and unaffected.
    FeedContradicts,
}
