//! What becomes of tasks before they reach anybody: ids, refusals, cancel.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use anyhow::Result;
use muster_core::status::State;
use muster_tests::System;
use serde_json::{Value, json};

fn pointers(summary: &muster_core::summary::Summary) -> Vec<(&str, &str)> {
    summary.errors.iter().map(|e| (e.code.as_str(), e.pointer.as_str())).collect()
}

fn make(group: &str) -> Value {
    json!({ "target": { "type": "group", "id": group }, "args": { "content": "", "create": true } })
}

#[tokio::test]
async fn an_id_is_an_idempotency_key() -> Result<()> {
    let system = System::start().await?;
    let task = json!({ "id": "make-web", "target": { "type": "group", "id": "web" },
                       "args": { "content": "agent:\n  queue_size: 1001\n", "create": true } });
    let first = system.publish("group-configuration", &task).await?;
    let done = system.ended(&first).await;
    assert_eq!((done.state, done.recipients), (State::Succeeded, Some(0)));

    // The same bytes again, before and after another task: still that one task, and nothing happens twice.
    system.publish("group-configuration", &task).await?;
    let other = system.publish("group-configuration", &make("db")).await?;
    system.ended(&other).await;
    assert_eq!(system.read::<Value>("tasks", "make-web").await?, Some(json!(done)));
    assert_eq!(system.ask("group.get", &json!({ "group": "web" })).await?["contents"]["config"]["revision"], 1);

    // Another body, and another type, under the same id: each has an outcome of its own under its place.
    for (kind, body) in [
        (
            "group-configuration",
            json!({ "id": "make-web", "target": { "type": "group", "id": "x" }, "args": { "content": "" } }),
        ),
        ("group-assignment", task.clone()),
    ] {
        let stored = async_nats::jetstream::new(system.client.clone())
            .publish(format!("tasks.{kind}"), body.to_string().into())
            .await?
            .await?;
        let refused = system.ended(&format!("t0-{}", stored.sequence)).await;
        assert_eq!(refused.state, State::Rejected);
        assert_eq!(pointers(&refused), [("id-taken", "/id")]);
    }
    // The front door says so at once.
    let answer = system
        .ask(
            "task.submit.group-assignment",
            &json!({ "id": "make-web", "target": { "type": "all" },
        "args": { "operation": "assign", "groups": ["web"] } }),
        )
        .await?;
    assert_eq!(answer["errors"][0]["code"], "id-taken");
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_place_and_the_next_good_one_is_done() -> Result<()> {
    let system = System::start().await?;
    let assign =
        |target: Value, groups: Value| json!({ "target": target, "args": { "operation": "assign", "groups": groups } });
    let all = || json!({ "type": "all" });
    let many: Vec<String> = (0..129).map(|n| format!("g{n}")).collect();
    let cases = [
        (
            "group-assignment",
            json!({ "tarket": all(), "args": { "operation": "assign", "groups": ["default"] } }),
            None,
        ),
        ("group-assignment", assign(json!({ "type": "fleet" }), json!(["default"])), None),
        ("group-assignment", assign(all(), json!(["none"])), Some(("unknown-group", "/args/groups/0"))),
        ("group-assignment", assign(all(), json!(many)), Some(("schema", "/args/groups"))),
        ("group-assignment", assign(all(), json!(["a*"])), Some(("schema", "/args/groups/0"))),
        (
            "group-assignment",
            assign(json!({ "type": "agent", "id": ["001", "777"] }), json!(["default"])),
            Some(("unknown-agent", "/target/id/0")),
        ),
        (
            "group-assignment",
            assign(json!({ "type": "group", "id": "none" }), json!(["default"])),
            Some(("unknown-group", "/target/id")),
        ),
        (
            "group-assignment",
            assign(json!({ "type": "query", "id": "os =" }), json!(["default"])),
            Some(("query", "/target/id")),
        ),
        (
            "group-assignment",
            assign(json!({ "type": "server" }), json!(["default"])),
            Some(("wrong-target", "/target")),
        ),
        (
            "group-assignment",
            json!({ "args": { "operation": "delete-group", "group": "default" } }),
            Some(("default-group", "/args/group")),
        ),
        (
            "group-configuration",
            json!({ "target": { "type": "group", "id": "web" }, "args": { "content": "" } }),
            Some(("unknown-group", "/target/id")),
        ),
        (
            "group-configuration",
            json!({ "target": { "type": "group", "id": "web" }, "args": { "content": "sca:\n  enabled: maybe\n", "create": true } }),
            Some(("schema", "/args/content/sca/enabled")),
        ),
        (
            "group-configuration",
            json!({ "target": { "type": "group", "id": "web" }, "args": { "content": "a: [", "create": true } }),
            None,
        ),
        (
            "group-configuration",
            json!({ "id": "t0-1", "target": { "type": "group", "id": "web" }, "args": { "content": "", "create": true } }),
            Some(("schema", "/id")),
        ),
        (
            "group-configuration",
            json!({ "target": { "type": "group", "id": "web" }, "deliver_until": "yesterday", "args": { "content": "", "create": true } }),
            Some(("deliver-until", "/deliver_until")),
        ),
        ("upgrade-all", json!({ "args": {} }), Some(("unknown-type", ""))),
    ];
    for (kind, task, expected) in cases {
        let id = system.publish_raw(kind, task.to_string().into_bytes(), None).await?;
        let summary = system.ended(&id).await;
        assert_eq!(summary.state, State::Rejected, "{task}");
        match expected {
            Some(place) => assert_eq!(pointers(&summary)[0], place, "{task}: {:?}", summary.errors),
            None => assert!(!summary.errors.is_empty(), "{task}"),
        }
    }
    for body in [b"".to_vec(), b"{".to_vec(), b"[1]".to_vec(), b"\xff\xfe".to_vec(), vec![b' '; 800 * 1024]] {
        let id = system.publish_raw("group-configuration", body.clone(), None).await?;
        let summary = system.ended(&id).await;
        assert_eq!(summary.state, State::Rejected, "{:?}", &body[..body.len().min(10)]);
    }
    let good = system.publish("group-configuration", &make("web")).await?;
    assert_eq!(system.ended(&good).await.state, State::Succeeded);
    Ok(())
}

#[tokio::test]
async fn a_task_can_be_cancelled_before_it_is_admitted_and_without_its_function() -> Result<()> {
    let mut system = System::empty().await?;
    for component in ["task-manager", "result-collector"] {
        system.run(component, &[])?;
    }
    muster_testkit::eventually("the task-manager", muster_testkit::PATIENCE, || async {
        system.ask("task.list", &json!({})).await.ok()
    })
    .await;
    let task =
        json!({ "id": "web", "target": { "type": "group", "id": "web" }, "args": { "content": "", "create": true } });
    system.publish("group-configuration", &task).await?;
    let answer = system.ask("task.cancel", &json!({ "id": "web", "user": "ada", "reason": "a mistake" })).await?;
    assert_eq!(answer["cancelled"], true, "{answer}");
    let summary = system.ended("web").await;
    assert_eq!((summary.state, summary.recipients), (State::Cancelled, Some(0)));
    assert_eq!(summary.stop.unwrap().user.as_deref(), Some("ada"));

    // Its function comes too late: nothing of the index changes, and cancelling again says what is so.
    system.run("group-configuration", &[])?;
    let next = system.publish("group-configuration", &make("db")).await?;
    assert_eq!(system.ended(&next).await.state, State::Succeeded);
    assert_eq!(system.read::<Value>("agents", "gmeta.web").await?, None);
    assert_eq!(system.ask("task.cancel", &json!({ "id": "web" })).await?["errors"][0]["code"], "ended");
    assert_eq!(system.ask("task.cancel", &json!({ "id": "none" })).await?["errors"][0]["code"], "unknown-task");
    Ok(())
}

#[tokio::test]
async fn a_task_whose_function_never_runs_ends() -> Result<()> {
    let mut system = System::empty().await?;
    for component in ["task-manager", "result-collector"] {
        system.run(component, &[])?;
    }
    // Its deadline is a minute and a second away, so the schedule is fired early, as an operator could.
    let task = json!({ "id": "late", "deliver_until": "1s", "target": { "type": "group", "id": "web" }, "args": { "content": "", "create": true } });
    system.publish("group-configuration", &task).await?;
    system.summary("late", "the admission", |_| true).await;
    async_nats::jetstream::new(system.client.clone()).publish("schedule.due.late", "".into()).await?.await?;
    let summary = system.ended("late").await;
    assert_eq!(summary.state, State::Expired);
    Ok(())
}
