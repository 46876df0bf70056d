//! What a scan found.

use serde::{Deserialize, Serialize};

/// The longest reason, in bytes.
const MAX_REASON: usize = 300;

/// So many failed checks are named in a summary.
const MAX_NAMED: usize = 100;

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold.
    Failed,
    /// It could not be found out; the reason says why.
    #[serde(rename = "not applicable")]
    NotApplicable,
}

/// A check and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The check's id.
    pub id: u32,
    /// The check's title.
    pub title: String,
    /// What became of it.
    pub result: Outcome,
    /// Why it is not applicable: a line of at most 300 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl CheckReport {
    pub(crate) fn new(id: u32, title: String, result: Outcome, reason: Option<String>) -> Self {
        Self { id, title, result, reason: reason.as_deref().map(line) }
    }
}

/// How many checks came out how. They add up to the checks of the policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Checks that passed.
    pub passed: usize,
    /// Checks that failed.
    pub failed: usize,
    /// Checks that are not applicable.
    pub not_applicable: usize,
}

/// The full listing of a scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The policy's id.
    pub policy: String,
    /// The policy's name.
    pub name: String,
    /// Why the policy is not applicable as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many checks came out how.
    pub totals: Totals,
    /// Each check, in the order of the policy.
    pub checks: Vec<CheckReport>,
}

/// What fits into the data of a task's result: less than 4 KiB as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The policy's id.
    pub policy: String,
    /// The policy's name.
    pub name: String,
    /// Why the policy is not applicable as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many checks came out how.
    #[serde(flatten)]
    pub totals: Totals,
    /// Passed checks in a hundred of those that passed or failed, rounded down; none when there are none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<usize>,
    /// The ids of checks that failed, the first 100 of them.
    pub failed_checks: Vec<u32>,
}

impl Report {
    pub(crate) fn new(policy: &str, name: &str, reason: Option<&str>, checks: Vec<CheckReport>) -> Self {
        let mut totals = Totals::default();
        for check in &checks {
            *match check.result {
                Outcome::Passed => &mut totals.passed,
                Outcome::Failed => &mut totals.failed,
                Outcome::NotApplicable => &mut totals.not_applicable,
            } += 1;
        }
        Self { policy: policy.to_owned(), name: name.to_owned(), reason: reason.map(line), totals, checks }
    }

    /// The same in short.
    pub fn summary(&self) -> Summary {
        let Totals { passed, failed, .. } = self.totals;
        let failed_checks = self.checks.iter().filter(|check| check.result == Outcome::Failed).map(|check| check.id);
        Summary {
            policy: self.policy.clone(),
            name: line(&self.name),
            reason: self.reason.clone(),
            totals: self.totals,
            score: (passed * 100).checked_div(passed + failed),
            failed_checks: failed_checks.take(MAX_NAMED).collect(),
        }
    }
}

/// A text without control characters, cut where it is too long: paths and output are in it.
fn line(text: &str) -> String {
    let clean: String = text.chars().take(MAX_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() <= MAX_REASON && clean.len() == text.len() {
        return clean;
    }
    let end = clean.floor_char_boundary(MAX_REASON - 3);
    format!("{}...", clean.get(..end).unwrap_or_default())
}
