//! The harness measures a small fleet: every number is there, and the counts are exact. No time is asserted.
#![allow(clippy::unwrap_used, missing_docs)]

use muster_bench::bench::{Scope, Single, bench};
use muster_bench::tasks::Kind;
use muster_bench::{document, plot};
use serde_json::{Value, json};

const AGENTS: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_agents_are_measured_whole() {
    let single = Single { tasks: 5, per_second: 10, seconds: 1, newcomers: 20 };
    let scope = Scope { agents: vec![AGENTS], kinds: Kind::ALL.to_vec(), repeat: 1, single: Some(single) };
    let report = bench(&scope).await.unwrap();
    let json: Value = serde_json::to_value(&report).unwrap();

    assert_eq!((report.runs.len(), report.other_types.len()), (1, 2));
    for run in json["runs"].as_array().unwrap().iter().chain(json["other_types"].as_array().unwrap()) {
        assert_eq!((&run["n"], &run["exact"]), (&json!(AGENTS), &json!(true)), "{run}");
        let positive = ["t_final_s", "confirmed_p50_s", "confirmed_p99_s", "limit_s", "ratio", "disk_bytes_per_agent"];
        for name in positive {
            assert!(run[name].as_f64().unwrap() > 0.0, "{name}: {run}");
        }
        let number = |name: &str| run[name].as_f64().unwrap();
        assert!((number("ratio") - number("t_final_s") / number("limit_s")).abs() < 1e-9);
        assert!(number("confirmed_p50_s") <= number("confirmed_p99_s"));
        assert!(run["peak_memory_bytes_broker"].as_u64().unwrap() > 1 << 20, "{run}");
        let rewrites = run["type"] != "active-response-execution";
        assert_eq!(run["limit"]["records_written_s"].as_f64().unwrap() > 0.0, rewrites, "{run}");
    }
    let newcomers = report.newcomers.as_ref().unwrap();
    assert!(newcomers.agents == 20 && newcomers.per_minute > 0.0);
    let latency = report.latency.as_ref().unwrap();
    assert_eq!((latency.idle.tasks, latency.beside_rollout.tasks), (5, 5));
    assert!(latency.sustained.iter().all(|steady| steady.start.tasks == 10 && steady.start.p50_ms > 0.0));
    assert!(document::tables(&report).contains("| group-configuration | 200 |"));
    assert!(plot::ratios(&report).ends_with("</svg>\n"));
}
