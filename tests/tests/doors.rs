//! The front doors beside the streams: dry run, retry, targets, list.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use anyhow::Result;
use muster_core::status::State;
use muster_testkit::{PATIENCE, Process, eventually};
use muster_tests::System;
use serde_json::{Value, json};

/// Messages and bytes of every stream and bucket, but for what agents say of themselves at intervals.
async fn contents(system: &System) -> Result<Vec<(String, u64, u64)>> {
    let mut out = Vec::new();
    for stream in
        ["TASKS", "COMMANDS", "RUNS", "RESULTS", "SCHEDULE", "DEAD", "KV_agents", "KV_groups", "KV_tasks", "KV_sets"]
    {
        let info = system.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({})).await?;
        let (last, messages) = (&info["state"]["last_seq"], &info["state"]["messages"]);
        out.push((stream.to_owned(), last.as_u64().unwrap(), messages.as_u64().unwrap()));
    }
    Ok(out)
}

async fn flaky(system: &System, count: u32, fail: &str) -> Result<Process> {
    let mut command = system.muster()?;
    command.args(["fleet", "--count", &count.to_string(), "--prefix", "flaky", "--fail", fail, "--seed", "7"]);
    let fleet = Process::start(command)?;
    eventually("the flaky fleet's enrolment", PATIENCE, || async {
        let answer = system.ask("agent.list", &json!({ "limit": 1, "query": "name ~ flaky-*" })).await.ok()?;
        (answer["total"] == count).then_some(())
    })
    .await;
    Ok(fleet)
}

fn count(plan: &Value, decision: &str) -> u64 {
    let rows = plan["decisions"].as_array().unwrap().iter().filter(|row| row["decision"] == decision);
    rows.map(|row| row["count"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_writes_nothing() -> Result<()> {
    let mut system = System::start().await?;
    let _fleet = system.fleet(1_000).await?;
    system.make_group("web", "").await?;
    let half = json!({ "target": { "type": "query", "id": "id < 0500" }, "args": { "operation": "assign", "groups": ["web"] } });
    let id = system.publish("group-assignment", &half).await?;
    let moved = system.ended(&id).await.counts.success;

    let before = contents(&system).await?;
    let all = json!({ "target": { "type": "all" }, "args": { "operation": "assign", "groups": ["web"] } });
    let plan = system.ask("task.plan.group-assignment", &all).await?;
    assert_eq!((plan["action"].as_str(), plan["recipients"].as_u64()), (Some("set-group"), Some(1_000)), "{plan}");
    assert_eq!((count(&plan, "skipped"), count(&plan, "commanded")), (moved, 1_000 - moved));
    let skipped = plan["decisions"].as_array().unwrap().iter().find(|row| row["decision"] == "skipped").unwrap();
    assert_eq!((skipped["reason"].as_str(), skipped["sample"].as_array().unwrap().len()), (Some("unchanged"), 10));
    let change =
        json!({ "target": { "type": "group", "id": "web" }, "args": { "content": "agent:\n  queue_size: 5000\n" } });
    let plan = system.ask("task.plan.group-configuration", &change).await?;
    assert_eq!(count(&plan, "commanded"), moved, "{plan}");
    let refused = json!({ "target": { "type": "all" }, "args": { "operation": "assign", "groups": ["none"] } });
    let plan = system.ask("task.plan.group-assignment", &refused).await?;
    assert_eq!(plan["refused"][0]["pointer"], "/args/groups/0");
    assert_eq!(contents(&system).await?, before);

    // What was foretold comes true.
    let id = system.publish("group-assignment", &all).await?;
    let done = system.ended(&id).await.counts;
    assert_eq!((done.skipped, done.success), (moved, 1_000 - moved));

    system.kill("group-assignment")?;
    let error = eventually("the function's absence", PATIENCE, || async {
        let answer = system.ask("task.plan.group-assignment", &all).await.ok()?;
        answer["errors"][0]["code"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(error, "function-not-running");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_for_those_who_failed_and_whom_nobody_changed_since() -> Result<()> {
    let system = System::start().await?;
    let _fleet = flaky(&system, 60, "40%").await?;
    system.make_group("web", "").await?;
    let task =
        json!({ "id": "first", "target": { "type": "all" }, "args": { "operation": "assign", "groups": ["web"] } });
    system.publish("group-assignment", &task).await?;
    let first = system.ended("first").await;
    assert_eq!((first.state, first.counts.total()), (State::Partial, 60));
    let failed = first.counts.failure;
    assert!(failed > 3, "{first:?}");

    let targets = system.ask("task.targets", &json!({ "id": "first", "status": "failure" })).await?;
    assert_eq!(targets["total"], failed);
    let rows = targets["targets"].as_array().unwrap();
    assert!(
        rows.iter().all(|row| row["status"] == "failure" && row["code"] != 0 && row["at"].is_string()),
        "{targets}"
    );
    // Page by page it is the same.
    let page = system.ask("task.targets", &json!({ "id": "first", "limit": 50 })).await?;
    let rest = system.ask("task.targets", &json!({ "id": "first", "after": page["next"] })).await?;
    assert_eq!((page["targets"].as_array().unwrap().len(), rest["targets"].as_array().unwrap().len()), (50, 10));
    assert_eq!(rest["next"], Value::Null);

    // One of them is changed by another task: it is skipped.
    let other =
        json!({ "target": { "type": "agent", "id": rows[0]["id"] }, "args": { "operation": "replace", "groups": [] } });
    let other = system.publish("group-assignment", &other).await?;
    system.ended(&other).await;
    let ask = json!({ "id": "first", "new_id": "second" });
    let answer = system.ask("task.retry", &ask).await?;
    assert_eq!(answer["id"], "second", "{answer}");
    let second = system.ended("second").await;
    assert_eq!((second.recipients, second.counts.skipped), (Some(failed), 1), "{second:?}");
    assert_eq!(second.counts.success + second.counts.failure, failed - 1);
    // The same retry again is the same task.
    system.ask("task.retry", &ask).await?;
    assert_eq!(system.ended("second").await, second);
    let list = system.ask("task.list", &json!({ "type": "group-assignment", "limit": 2 })).await?;
    assert_eq!((list["total"].as_u64(), list["tasks"].as_array().unwrap().len()), (Some(3), 2), "{list}");
    let next = system.ask("task.list", &json!({ "type": "group-assignment", "before": list["next"] })).await?;
    assert_eq!(next["tasks"][0]["id"], "first");
    let none = system.ask("task.list", &json!({ "user": "nobody" })).await?;
    assert_eq!(none["total"], 0);
    assert_eq!(system.ask("task.retry", &json!({ "id": "none" })).await?["errors"][0]["code"], "unknown-task");
    Ok(())
}
