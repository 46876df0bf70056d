//! The way of a task to real agents and back.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;

use anyhow::Result;
use muster_core::status::State;
use muster_testkit::{PATIENCE, Process, Signal, eventually};
use muster_tests::System;
use serde_json::{Value, json};

async fn file_says(path: &Path, text: &str) {
    eventually(&format!("'{text}' in {}", path.display()), PATIENCE, || async {
        let found = std::fs::read_to_string(path).unwrap_or_default();
        if found.contains(text) { Ok(()) } else { Err(found) }
    })
    .await;
}

fn follow(files: &[&Path]) -> String {
    let mut out = "logcollector:\n  read_interval: 50ms\n  localfiles:\n".to_owned();
    for file in files {
        out += &format!("    - {}\n", file.display());
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_reaches_real_agents_and_one_that_was_away_catches_up_with_one_command() -> Result<()> {
    let system = System::start().await?;
    let home = tempfile::tempdir()?;
    let (root1, root2) = (home.path().join("a1"), home.path().join("a2"));
    let (log1, log2) = (home.path().join("one.log"), home.path().join("two.log"));
    std::fs::write(&log1, "")?;
    std::fs::write(&log2, "")?;
    let agent1 = system.agent(&root1, "web-1")?;
    let mut agent2 = system.agent(&root2, "web-2")?;
    let (id1, id2) = (system.enrolled("web-1").await, system.enrolled("web-2").await);

    // Groups and configuration, each known by its evidence on the agent's disk.
    system.make_group("web", &follow(&[&log1])).await?;
    let assign = json!({ "target": { "type": "agent", "id": [id1, id2] }, "args": { "operation": "assign", "groups": ["web"] } });
    let task = system.publish("group-assignment", &assign).await?;
    let done = system.ended(&task).await;
    assert_eq!((done.state, done.counts.success), (State::Succeeded, 2));
    file_says(&root1.join("agent.yml"), "one.log").await;
    append(&log1, "first line")?;
    file_says(&root1.join("spool/logcollector.jsonl"), "first line").await;

    // Again the same: nobody needs a change.
    let task = system.publish("group-assignment", &assign).await?;
    let done = system.ended(&task).await;
    assert_eq!((done.state, done.counts.skipped), (State::Succeeded, 2));

    // Two changes while one agent is away, one line written in between.
    agent2.signal(Signal::TERM)?;
    agent2.wait_exit(PATIENCE).await?;
    let change =
        |content: String| json!({ "target": { "type": "group", "id": "web" }, "args": { "content": content } });
    let second = system
        .publish("group-configuration", &change(follow(&[&log1, &log2]) + "events:\n  batch_size: 2MB\n"))
        .await?;
    let half = system.summary(&second, "the first agent's success", |s| s.counts.success == 1).await;
    assert_eq!((half.state, half.counts.pending), (State::Running, 1));
    append(&log1, "while it was reconfigured")?;
    let third = system.publish("group-configuration", &change(follow(&[&log2]))).await?;
    let done = system.ended(&second).await;
    assert_eq!((done.counts.success, done.counts.superseded, done.state), (1, 1, State::Succeeded));
    system.summary(&third, "the first agent's success", |s| s.counts.success == 1).await;
    file_says(&root1.join("spool/logcollector.jsonl"), "while it was reconfigured").await;
    let before = std::fs::read_to_string(root2.join("agent.yml"))?;
    assert!(before.contains("one.log") && !before.contains("two.log"));

    let agent2 = system.agent(&root2, "web-2")?;
    let done = system.ended(&third).await;
    assert_eq!((done.state, done.counts.success), (State::Succeeded, 2));
    file_says(&root2.join("agent.yml"), "two.log").await;
    assert_eq!(agent2.log().matches("set-config").count(), 1, "{}", agent2.log());
    assert_eq!(agent1.id(), agent1.id(), "it was never restarted");

    // What the agents report of themselves is what the index wants of them.
    for id in [&id1, &id2] {
        eventually("the digests in force", PATIENCE, || async {
            let shown = system.ask("agent.get", &json!({ "agent": id })).await.ok()?;
            let wanted = shown["desired"]["lanes"]["config=web"]["digest"].clone();
            (shown["reported"]["digests"]["config=web"] == wanted && !wanted.is_null()).then_some(())
        })
        .await;
    }
    Ok(())
}

fn append(file: &Path, line: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().append(true).open(file)?;
    Ok(writeln!(file, "{line}")?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_disables_content_removes_it() -> Result<()> {
    let system = System::start().await?;
    let home = tempfile::tempdir()?;
    let root = home.path().join("a1");
    let _agent = system.agent(&root, "web-1")?;
    system.enrolled("web-1").await;
    std::fs::create_dir_all(root.join("content/sca"))?;
    std::fs::write(root.join("content/sca/policy.yml"), "policy: {}\n")?;
    let task =
        json!({ "target": { "type": "group", "id": "default" }, "args": { "content": "sca:\n  enabled: false\n" } });
    let id = system.publish("group-configuration", &task).await?;
    assert_eq!(system.ended(&id).await.counts.success, 1);
    assert!(!root.join("content/sca/policy.yml").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_at_any_time_ends_in_the_state_of_now() -> Result<()> {
    let system = System::start().await?;
    let home = tempfile::tempdir()?;
    let root = home.path().join("a1");
    let mut agent = system.agent(&root, "web-1")?;
    let id = system.enrolled("web-1").await;
    for n in 0..8u64 {
        let content = format!("agent:\n  queue_size: 1{:03}\n", n + 1);
        let task = json!({ "target": { "type": "group", "id": "default" }, "args": { "content": content } });
        let task = system.publish("group-configuration", &task).await?;
        tokio::time::sleep(std::time::Duration::from_millis(n * 7)).await;
        agent.kill()?;
        agent = system.agent(&root, "web-1")?;
        let done = system.ended(&task).await;
        assert_eq!((done.state, done.counts.success), (State::Succeeded, 1), "round {n}: {done:?}");
        file_says(&root.join("agent.yml"), &format!("queue_size: 1{:03}", n + 1)).await;
    }
    let list = system.ask("agent.list", &json!({})).await?;
    assert_eq!(list["total"], 1, "the id stays: {list}");
    assert_eq!(list["agents"][0]["id"], json!(id));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_tasks_for_an_agent_that_is_away_are_one_command() -> Result<()> {
    const TASKS: usize = 2_000;
    let system = System::start().await?;
    let home = tempfile::tempdir()?;
    let root = home.path().join("a1");
    let mut agent = system.agent(&root, "web-1")?;
    let id = system.enrolled("web-1").await;
    system.make_group("web", "agent:\n  queue_size: 1009\n").await?;
    agent.signal(Signal::TERM)?;
    agent.wait_exit(PATIENCE).await?;

    let task = |n: usize| {
        let operation = if n.is_multiple_of(2) { "assign" } else { "unassign" };
        json!({ "id": format!("n{n}"), "target": { "type": "agent", "id": id }, "args": { "operation": operation, "groups": ["web"] } })
    };
    for n in 0..=TASKS {
        system.publish("group-assignment", &task(n)).await?;
    }
    let overtaken = eventually("the last task's decision", PATIENCE * 3, || async {
        let before: Value = system.read("tasks", &format!("n{}", TASKS - 1)).await.ok()??;
        (before["counts"]["superseded"] == 1).then_some(before)
    })
    .await;
    assert_eq!(overtaken["state"], "succeeded");

    let agent: Process = system.agent(&root, "web-1")?;
    let done = system.ended(&format!("n{TASKS}")).await;
    assert_eq!((done.state, done.counts.success), (State::Succeeded, 1));
    assert_eq!(agent.log().matches("set-group").count(), 1, "{}", agent.log());
    let mut superseded = 0;
    for n in 0..TASKS {
        let summary = system.ended(&format!("n{n}")).await;
        superseded += summary.counts.superseded;
        assert_eq!(summary.counts.total(), 1);
    }
    assert_eq!(superseded, TASKS as u64);
    Ok(())
}
