//! A function as a process: its health, its end, and a task that it cannot carry out.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::Result;
use muster_broker::{Broker as _, Write};
use muster_core::status::State;
use muster_core::summary::StopKind;
use muster_testkit::{PATIENCE, Signal, eventually};
use muster_tests::System;
use serde_json::{Value, json};

fn make(group: &str) -> Value {
    json!({ "target": { "type": "group", "id": group }, "args": { "content": "", "create": true } })
}

/// Nothing can be decided about a group whose stored state cannot be read: the task is parked with the reason, its
/// message lies in DEAD, and the next task is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_does_not_come_on_is_parked_and_the_next_one_is_done() -> Result<()> {
    let system = System::start().await?;
    system.bus.commit("KV_agents", vec![Write::put("agents", "gmeta.broken", "no JSON", 0)]).await?;
    let stuck = system.publish("group-configuration", &make("broken")).await?;
    let next = system.publish("group-configuration", &make("web")).await?;
    let parked = system.ended(&stuck).await;
    assert_eq!(parked.state, State::Failed, "{parked:?}");
    let stop = parked.stop.unwrap();
    assert_eq!(stop.kind, StopKind::Parked);
    assert!(stop.reason.contains("DEAD"), "{}", stop.reason);
    let letter = system.bus.get("DEAD", "dead.tasks.1").await?.expect("a dead letter").body.unwrap();
    let letter: Value = serde_json::from_slice(&letter)?;
    assert!(letter.to_string().contains("broken"), "{letter}");
    assert_eq!(system.ended(&next).await.state, State::Succeeded);
    Ok(())
}

fn status(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split(' ').nth(1)?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn liveness_does_not_depend_on_nats_and_readiness_does() -> Result<()> {
    let mut system = System::empty().await?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    system.run("group-configuration", &[("MUSTER_HEALTH_ADDR", &format!("127.0.0.1:{port}"))])?;
    let becomes = |path: &'static str, wanted: &'static str| async move {
        eventually(&format!("{wanted} of {path}"), PATIENCE, || async {
            let found = status(port, path);
            if found.as_deref() == Some(wanted) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    };
    becomes("/ready", "200").await;
    system.server.kill().await?;
    becomes("/ready", "503").await;
    becomes("/live", "200").await;
    system.server.restart().await?;
    becomes("/ready", "200").await;
    Ok(())
}

/// On SIGTERM a function finishes what it has begun, and ends with success; nothing waits for a redelivery.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_told_to_end_finishes_its_task() -> Result<()> {
    let mut system = System::start().await?;
    let _fleet = system.fleet(1_000).await?;
    system.make_group("web", "").await?;
    for round in 0..3u64 {
        let operation = if round.is_multiple_of(2) { "assign" } else { "unassign" };
        let task = json!({ "target": { "type": "all" }, "args": { "operation": operation, "groups": ["web"] } });
        let id = system.publish("group-assignment", &task).await?;
        tokio::time::sleep(std::time::Duration::from_millis(40 * round)).await;
        let mut function = system.copies("group-assignment").remove(0);
        function.signal(Signal::TERM)?;
        assert!(function.wait_exit(PATIENCE).await?.success(), "{}", function.log());
        system.run("group-assignment", &[])?;
        let done = system.ended(&id).await;
        assert_eq!((done.state, done.counts.success), (State::Succeeded, 1_000), "{done:?}");
    }
    Ok(())
}
