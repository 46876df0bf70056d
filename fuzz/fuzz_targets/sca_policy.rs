//! Any text as a policy: it is answered. What is loaded runs on a system whose files hold what follows a line of '==='; the
//! report adds up, and with no file readable it decides nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_sca::{MAX_PROBLEMS, Memory, Options, Outcome, Policy, scan};
use serde_json::json;

fuzz_target!(|text: &str| {
    let (policy, content) = text.split_once("\n===\n").unwrap_or((text, "key = 1\n"));
    let policy = match Policy::parse(policy) {
        Ok(policy) => policy,
        Err(problems) => return assert!((1..=MAX_PROBLEMS).contains(&problems.len())),
    };
    let report = |a: serde_json::Value| {
        let system = json!({ "files": { "/a": a, "/d/x": a }, "processes": ["x"], "commands": { "x": a } });
        let system: Memory = serde_json::from_value(system).expect("a system");
        scan(&policy, &system, Options { commands: true, ..Options::default() })
    };
    let known = report(content.into());
    let totals = known.totals;
    assert_eq!(totals.passed + totals.failed + totals.not_applicable, policy.checks.len());
    assert!(serde_json::to_string(&known.summary()).expect("JSON").len() < 4096);
    let unknown = report(json!({ "error": "Permission denied" }));
    for (less, more) in unknown.checks.iter().zip(&known.checks) {
        assert!(less.result == Outcome::NotApplicable || less.result == more.result);
    }
});
