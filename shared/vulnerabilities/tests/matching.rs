//! Which vulnerabilities packages have, by the cases in `cases/matching`.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use muster_vulnerabilities::{Database, Error, Findings, Format, MAX_PACKAGES, Os, Package, Reason};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    records: BTreeMap<String, Value>,
    scans: Vec<Scan>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scan {
    case: String,
    os: Os,
    packages: Vec<Package>,
    scanned: u32,
    #[serde(default)]
    unlisted: u32,
    #[serde(default)]
    counts: BTreeMap<String, u32>,
    #[serde(default)]
    findings: Vec<Value>,
    #[serde(default)]
    undetermined: Vec<Value>,
}

/// Runs the scans of a file on a database that came to its records by `fill`.
fn scans(text: &str, fill: impl Fn(&Database, &BTreeMap<String, Value>)) {
    let cases: Cases = serde_json::from_str(text).unwrap();
    let (_directory, database) = common::database();
    fill(&database, &cases.records);
    for scan in cases.scans {
        let found = database.match_packages(&scan.os, &scan.packages).unwrap();
        let mut counts = json!({"critical": 0, "high": 0, "medium": 0, "low": 0, "none": 0, "unknown": 0});
        scan.counts.iter().for_each(|(severity, count)| counts[severity] = json!(count));
        let expected = json!({
            "offset": 100, "scanned": scan.scanned, "unlisted": scan.unlisted, "counts": counts,
            "unjudged": scan.undetermined.len(), "findings": scan.findings, "undetermined": scan.undetermined,
        });
        assert_eq!(serde_json::to_value(&found).unwrap(), expected, "{}", scan.case);
        assert_eq!(serde_json::from_value::<Findings>(expected).unwrap(), found, "{}", scan.case);
    }
}

fn by_snapshot(database: &Database, records: &BTreeMap<String, Value>) {
    let lines: String = records.iter().map(|(name, payload)| common::line(name, 1, payload)).collect();
    common::load(database, &lines, 100);
}

/// First as other records, about the same names, then patched into what they are.
fn by_changes(database: &Database, records: &BTreeMap<String, Value>) {
    let other = common::cve("openssh-server", "99:1");
    let lines: String = records.keys().map(|name| common::line(name, 1, &other)).collect();
    common::load(database, &lines, 10);
    let changes = records.iter().zip(11..).map(|((name, payload), offset)| {
        json!({"type": "update", "resource": name, "offset": offset, "version": 2,
            "operations": [{"op": "test", "path": "", "value": other}, {"op": "replace", "path": "", "value": payload}]})
    });
    database.apply(&common::batch(10, 100, changes.collect())).unwrap();
}

#[test]
fn dpkg() {
    scans(include_str!("../cases/matching/dpkg.json"), by_snapshot);
    scans(include_str!("../cases/matching/dpkg.json"), by_changes);
}

#[test]
fn rpm() {
    scans(include_str!("../cases/matching/rpm.json"), by_snapshot);
    scans(include_str!("../cases/matching/rpm.json"), |database, records| {
        let changes = records.iter().zip(1..).map(|((name, payload), offset)| {
            json!({"type": "create", "resource": name, "offset": offset, "version": 1, "payload": payload})
        });
        database.apply(&common::batch(0, 100, changes.collect())).unwrap();
    });
}

fn debian() -> Os {
    Os { distribution: "debian".into(), version: "12".into(), codename: None }
}

#[test]
fn an_empty_database_finds_nothing_safe() {
    let (_directory, database) = common::database();
    let found = database.match_packages(&debian(), &[]).unwrap();
    assert_eq!(found.undetermined[0].reason, Reason::EmptyDatabase);
}

#[test]
fn packages_are_bounded() {
    let (_directory, database) = common::database();
    let package =
        Package { name: "a".into(), version: "1".into(), arch: "all".into(), source: None, format: Format::Dpkg };
    let refused = database.match_packages(&debian(), &vec![package; MAX_PACKAGES + 1]);
    assert!(matches!(refused, Err(Error::Malformed(problem)) if problem.code == "too-many-packages"));
}
