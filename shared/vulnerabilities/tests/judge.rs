//! Whether a version is affected, by the table of cases in `cases/judge.json`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use muster_vulnerabilities::Format;
use muster_vulnerabilities::affected::Affected;
use muster_vulnerabilities::judge::{Doubt, Verdict, judge};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    affected: Value,
    #[serde(default)]
    dpkg: BTreeMap<String, String>,
    #[serde(default)]
    rpm: BTreeMap<String, String>,
}

fn words(verdict: Verdict) -> String {
    match verdict {
        Verdict::Affected { fixed: None } => "affected".into(),
        Verdict::Affected { fixed: Some(fixed) } => format!("affected until {fixed}"),
        Verdict::Unaffected => "unaffected".into(),
        Verdict::Undetermined(Doubt::Unknown) => "feed-unknown".into(),
        Verdict::Undetermined(Doubt::Unreadable) => "feed-unreadable".into(),
        Verdict::Undetermined(Doubt::Contradiction) => "feed-contradicts".into(),
    }
}

#[test]
fn cases() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../cases/judge.json")).unwrap();
    for Case { case, mut affected, dpkg, rpm } in cases {
        affected["product"] = "x".into();
        let affected = Affected::parse(&affected).unwrap();
        let mut judged = 0;
        for (format, versions) in [(Format::Dpkg, dpkg), (Format::Rpm, rpm)] {
            for (version, expected) in versions {
                let installed = format.version(&version).unwrap();
                assert_eq!(
                    words(judge(&affected.versions, format, &installed)),
                    expected,
                    "{case}: {format:?} {version}"
                );
                judged += 1;
            }
        }
        assert!(judged > 0, "{case} judges nothing");
    }
}
