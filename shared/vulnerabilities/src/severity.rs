//! How bad a vulnerability is: the rating of CVSS, and how it is read from a container's metrics.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The qualitative severity rating of CVSS (section 5 of its specification, version 3.1), worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// 9.0 and above.
    Critical,
    /// 7.0 to 8.9.
    High,
    /// 4.0 to 6.9.
    Medium,
    /// 0.1 to 3.9.
    Low,
    /// 0.0.
    None,
    /// Nobody has rated it with CVSS.
    Unknown,
}

/// The members of a metric that hold a CVSS vector, best first.
const VERSIONS: [&str; 4] = ["cvssV4_0", "cvssV3_1", "cvssV3_0", "cvssV2_0"];

impl Severity {
    /// What the newest CVSS version among the `metrics` of a CVE record's container says.
    #[must_use]
    pub fn of_metrics(metrics: &Value) -> Self {
        let metrics = metrics.as_array().map(Vec::as_slice).unwrap_or_default();
        let rated = |version: &&str| metrics.iter().find_map(|metric| Self::of_cvss(metric.get(*version)?));
        VERSIONS.iter().find_map(rated).unwrap_or(Self::Unknown)
    }

    /// What one CVSS object says: its rating, or the rating of its score. CVSS 2.0 has no ratings: the National
    /// Vulnerability Database takes low up to 3.9, medium up to 6.9, high above.
    fn of_cvss(cvss: &Value) -> Option<Self> {
        if let Some(rating) = cvss.get("baseSeverity").and_then(Value::as_str) {
            return Self::deserialize(Value::String(rating.to_ascii_lowercase())).ok();
        }
        let old = cvss.get("version").and_then(Value::as_str).is_some_and(|version| version.starts_with('2'));
        let score = cvss.get("baseScore").and_then(Value::as_f64)?;
        Some(match score {
            9.0.. if !old => Self::Critical,
            7.0.. => Self::High,
            4.0.. => Self::Medium,
            0.1.. => Self::Low,
            0.0.. if old => Self::Low,
            0.0.. => Self::None,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_newest_version_counts() {
        let metrics = json!([
            {"cvssV2_0": {"version": "2.0", "baseScore": 9.3}},
            {"other": {"type": "x"}},
            {"cvssV3_1": {"version": "3.1", "baseScore": 5.0, "baseSeverity": "MEDIUM"}},
        ]);
        assert_eq!(Severity::of_metrics(&metrics), Severity::Medium);
    }

    #[test]
    fn scores_are_rated() {
        for (member, version, score, severity) in [
            ("cvssV2_0", "2.0", 9.3, Severity::High),
            ("cvssV2_0", "2.0", 0.0, Severity::Low),
            ("cvssV3_0", "3.0", 9.0, Severity::Critical),
            ("cvssV3_1", "3.1", 8.9, Severity::High),
            ("cvssV3_1", "3.1", 0.0, Severity::None),
            ("cvssV4_0", "4.0", 3.9, Severity::Low),
            ("cvssV3_1", "3.1", -1.0, Severity::Unknown),
        ] {
            let metrics = json!([{ member: {"version": version, "baseScore": score} }]);
            assert_eq!(Severity::of_metrics(&metrics), severity, "{member} {score}");
        }
        for none in
            [json!(null), json!([]), json!([{"cvssV3_1": {"baseSeverity": "BAD"}}]), json!([1, {"cvssV3_1": 3}])]
        {
            assert_eq!(Severity::of_metrics(&none), Severity::Unknown, "{none}");
        }
    }
}
