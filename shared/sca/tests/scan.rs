//! Whole policies: conditions, requirements, both forms, dialects of single checks, the report.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::Duration;

use muster_sca::{
    Entry, Kind, MAX_BYTES, MAX_PROBLEMS, Memory, Options, Outcome, Policy, Report, System, Text, Trouble, scan,
};
use serde::Deserialize;
use serde_json::{Value, json};

fn run(policy: &Value) -> Report {
    let files = json!({ "files": { "/a": "Value 1\n", "/windows": { "special": true } } });
    let system: Memory = serde_json::from_value(files).unwrap();
    scan(&Policy::parse(&policy.to_string()).unwrap(), &system, Options::default())
}

fn check(id: u32, condition: &str, rules: &[&str]) -> Value {
    json!({ "id": id, "title": "T", "condition": condition, "rules": rules })
}

fn policy(checks: &[Value]) -> Value {
    json!({ "policy": { "id": "p", "name": "P" }, "checks": checks })
}

#[derive(Deserialize)]
struct Row {
    rules: Vec<String>,
    all: Outcome,
    any: Outcome,
    none: Outcome,
}

#[test]
fn conditions() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/conditions.json");
    let table: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let rows: Vec<Row> = serde_json::from_value(table["cases"].clone()).unwrap();
    assert!(rows.len() > 10);
    for row in rows {
        let rules: Vec<_> = row.rules.iter().map(String::as_str).collect();
        let conditions = [("all", row.all), ("any", row.any), ("none", row.none), ("any required", row.any)];
        for (condition, expected) in conditions {
            let report = run(&policy(&[check(1, condition, &rules)]));
            assert_eq!(report.checks[0].result, expected, "{condition} of {rules:?}");
        }
    }
}

#[test]
fn requirements_decide_whether_there_is_a_scan() {
    let with = |rules: &[&str]| {
        let mut policy = policy(&[check(1, "all", &["f:/a"])]);
        policy["requirements"] = json!({ "name": "R", "description": "D", "condition": "all", "rules": rules });
        let report = run(&policy);
        (report.checks[0].result, report.reason.unwrap_or_default())
    };
    assert_eq!(with(&["f:/a -> r:value"]), (Outcome::Passed, String::new()));
    assert_eq!(with(&["f:/b"]), (Outcome::NotApplicable, "its requirements do not hold".into()));
    for (rule, why) in [
        ("r:HKLM\\Software -> ProductName -> r:^Windows 10", "no registry"),
        ("f:/System/Library/CoreServices/SystemVersion.plist -> r:14", "it is not there"),
        ("f:%WINDIR%\\system.ini", "no absolute path"),
        ("f:/a -> r:\\q", "does not compile"),
    ] {
        let (result, reason) = with(&[rule]);
        assert_eq!(result, Outcome::NotApplicable, "{rule}");
        assert!(reason.contains(why), "{rule}: {reason}");
    }
}

#[test]
fn the_forms_of_both_versions() {
    let text = "
policy:
  id: five
  file: five.yml
  name: Five
  description: In the form of 5.x
  references: [https://example.org]
variables:
  $a: [/none, /a]
checks:
  - id: 1
    name: A name
    rationale: R
    impact: I
    compliance: {pci_dss: ['2.2']}
    mitre: {tactic: {id: [TA0008], name: [Lateral Movement]}}
    condition: any
    rules:
      - 'f:$a'
  - id: 2
    title: A title
    compliance:
      - cis: ['1.1']
    regex_type: pcre2
    condition: all
    rules: ['f:/a -> r:^[V]alue\\s\\d\\b(?!0)']
";
    let report = scan(
        &Policy::parse(text).unwrap(),
        &serde_json::from_value::<Memory>(json!({ "files": { "/a": "Value 1\n" } })).unwrap(),
        Options::default(),
    );
    let found: Vec<_> = report.checks.iter().map(|check| (check.id, check.title.as_str(), check.result)).collect();
    assert_eq!(found, [(1, "A name", Outcome::Passed), (2, "A title", Outcome::Passed)]);
}

#[test]
fn a_report_as_it_is_sent() {
    let checks = [check(3, "all", &["f:/a"]), check(5, "all", &["f:/b"]), check(9, "all", &["f:/b -> x"])];
    let report = run(&policy(&checks));
    let listing = json!({
        "policy": "p",
        "name": "P",
        "totals": { "passed": 1, "failed": 1, "not_applicable": 1 },
        "checks": [
            { "id": 3, "title": "T", "result": "passed" },
            { "id": 5, "title": "T", "result": "failed" },
            { "id": 9, "title": "T", "result": "not applicable", "reason": "/rules/0: /b: it is not there" },
        ],
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), listing);
    let summary = json!({
        "policy": "p", "name": "P", "passed": 1, "failed": 1, "not_applicable": 1, "score": 50, "failed_checks": [5],
    });
    assert_eq!(serde_json::to_value(report.summary()).unwrap(), summary);
    assert_eq!(serde_json::from_value::<Report>(listing).unwrap(), report);
}

#[test]
fn the_largest_summary_fits_into_a_result() {
    let checks: Vec<_> = (1..=2000).map(|id| check(2_147_481_000 + id, "all", &["f:/b"])).collect();
    let mut policy = policy(&checks);
    policy["policy"] = json!({ "id": "\"".repeat(128), "name": "\"".repeat(512) });
    let failing = run(&policy);
    assert_eq!(failing.totals.failed, 2000);
    policy["requirements"] = json!({ "condition": "all", "rules": [format!("f:/{} -> x", "\"".repeat(4000))] });
    let not_applicable = run(&policy);
    assert_eq!(not_applicable.totals.not_applicable, 2000);
    for report in [failing, not_applicable] {
        let length = serde_json::to_string(&report.summary()).unwrap().len();
        assert!(length < 4096, "{length}");
    }
}

#[test]
fn reasons_are_one_short_line() {
    let path = format!("/{}", "é\u{1b}\n".repeat(500));
    let report = run(&policy(&[check(1, "all", &[&format!("f:{path} -> x")])]));
    let reason = report.checks[0].reason.as_deref().unwrap();
    assert!(reason.len() <= 300 && reason.ends_with("...") && !reason.contains(char::is_control), "{reason:?}");
}

#[test]
fn what_is_too_large_is_refused() {
    let codes = |text: &str| -> Vec<_> { Policy::parse(text).unwrap_err().into_iter().map(|p| p.code).collect() };
    assert_eq!(codes(&"#".repeat(MAX_BYTES + 1)), ["too-large"]);
    let many: Vec<_> = (1..=2001).map(|id| check(id, "all", &["f:/a"])).collect();
    assert_eq!(codes(&policy(&many).to_string()), ["schema"]);
    assert_eq!(codes(&policy(&[check(1, "all", &vec!["f:/a"; 256])]).to_string()), ["schema"]);
    assert_eq!(codes(&policy(&[check(1, "all", &["x"; 100])]).to_string()), vec!["rule"; MAX_PROBLEMS]);
    assert_eq!(codes(&format!("policy: {}", "[".repeat(100_000))), ["yaml"]);
    let mut growing = policy(&[check(1, "all", &[&format!("f:{}", "$a".repeat(20))])]);
    growing["variables"] = json!({ "$a": "x".repeat(4000) });
    assert_eq!(codes(&growing.to_string()), ["rule"]);
    let long = policy(&[check(1, "all", &[&format!("f:/a -> r:{}", "a".repeat(2049))])]);
    let check = &Policy::parse(&long.to_string()).unwrap().checks[0];
    assert!(check.uncompilable().unwrap().contains("at most 2048"));
}

/// A system on which each look at the clock takes so many seconds.
struct Slow(Memory, Cell<u64>, u64);

impl System for Slow {
    fn kind(&self, path: &Path) -> Result<Kind, Trouble> {
        self.0.kind(path)
    }
    fn read(&self, path: &Path) -> Result<Text, Trouble> {
        self.0.read(path)
    }
    fn list(&self, directory: &Path) -> Result<Vec<Entry>, Trouble> {
        self.0.list(directory)
    }
    fn processes(&self) -> Result<Vec<String>, String> {
        self.0.processes()
    }
    fn run(&self, words: &[String]) -> Result<Text, String> {
        self.0.run(words)
    }
    fn elapsed(&self) -> Duration {
        self.1.set(self.1.get() + self.2);
        Duration::from_secs(self.1.get())
    }
}

#[test]
fn what_takes_too_long_is_given_up() {
    let reasons = |seconds| -> Vec<_> {
        let text = format!("{}last\n", "line\n".repeat(20));
        let memory = serde_json::from_value(json!({ "files": { "/a": text, "/d/x": text } })).unwrap();
        let rules = ["f:/a -> r:^last", "f:/a -> !r:^x", "f:/a -> r:^line", "d:/d -> x -> r:^line", "not f:/b"];
        let checks: Vec<_> = (1..).zip(rules).map(|(id, rule)| check(id, "all", &[rule])).collect();
        let policy = Policy::parse(&policy(&checks).to_string()).unwrap();
        let report = scan(&policy, &Slow(memory, Cell::new(0), seconds), Options::default());
        report.checks.into_iter().map(|check| check.reason.unwrap_or_default()).collect()
    };
    assert_eq!(reasons(0), vec![""; 5]);
    let slow = "/rules/0: /a: matching its lines takes too long";
    assert_eq!(reasons(2), [slow, slow, "", "", ""]);
    let over = "/rules/0: the time for the scan is over";
    assert_eq!(reasons(1700)[1..], [over; 4], "after the first rule there is none left");
}

#[test]
fn a_value_is_not_replaced_again() {
    let mut policy = policy(&[check(1, "all", &["f:$a"])]);
    policy["variables"] = json!({ "$a": "/$a,/$b", "$b": "$a$a" });
    let problems = Policy::parse(&policy.to_string()).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("a variable in '/$a' is not defined"), "{problems:?}");
}
