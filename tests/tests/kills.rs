//! A function is killed, or stopped beyond its ack_wait and woken, before and after each of its writes. Each time the
//! system ends in the state of a run without it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::Duration;

use anyhow::Result;
use muster_core::lane::Lane;
use muster_core::numbers::Numbers;
use muster_core::record::{Group, Life};
use muster_core::status::State;
use muster_testkit::{PATIENCE, Signal, eventually};
use muster_tests::System;
use serde_json::{Value, json};

/// More than a page holds.
const AGENTS: u32 = 1_000;

/// Where a group-assignment writes: each step of the design's section 5.
const ASSIGNMENT: [&str; 7] = [
    "$KV.tasks.",
    "$KV.agents.plan.",
    "$KV.agents.recipients.",
    "$KV.agents.page.",
    "commands.",
    "facts.",
    // The second page, by its number: the first one's commands are published beside it.
    "$KV.agents.page.PAGE1",
];
const CONFIGURATION: [&str; 6] =
    ["$KV.groups.", "$KV.agents.plan.", "$KV.agents.recipients.", "$KV.agents.page.", "commands.", "facts."];
const UPGRADE: [&str; 5] =
    ["$KV.packages.upgrade.", "$KV.agents.plan.", "$KV.agents.recipients.", "$KV.agents.page.", "commands."];
const DELETION: [&str; 4] = ["$KV.agents.plan.", "$KV.agents.page.", "commands.", "$KV.agents.finish."];

/// Publishes a task with a copy that crashes at a point; then an unharmed copy finishes it.
async fn crash(system: &mut System, function: &str, how: &str, task: &Value) -> Result<()> {
    system.kill(function)?;
    system.run(function, &[("MUSTER_CRASH", how)])?;
    let id = task["id"].as_str().unwrap_or_default();
    system.publish(function, task).await?;
    if how.starts_with("kill") {
        let status = system.copies(function)[0].wait_exit(PATIENCE).await?;
        assert!(!status.success(), "{how}: it was to be killed");
        system.run(function, &[])?;
        system.ended(id).await;
    } else {
        stopped(how, system.copies(function)[0].id()).await;
        system.run(function, &[])?;
        // The other copy takes over when the message comes again; the first wakes into a task that is done.
        system.ended(id).await;
        system.copies(function)[0].signal(Signal::CONT)?;
        let after = system.publish(function, &json!({ "id": format!("{id}-after"), "args": {} })).await?;
        system.ended(&after).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

async fn points(
    system: &mut System,
    function: &str,
    prefixes: &[&str],
    mut task: impl FnMut(usize) -> Value,
    mut check: impl AsyncFnMut(&System, usize) -> Result<()>,
) -> Result<()> {
    let mut n = 0;
    for prefix in prefixes {
        for how in ["kill-before", "kill-after", "stop-before", "stop-after"] {
            let task = task(n);
            let prefix = prefix.replace("PAGE1", &format!("{}.1", task["id"].as_str().unwrap()));
            let how = format!("{how}:{prefix}");
            println!("{function}: {how}");
            crash(system, function, &how, &task).await?;
            check(system, n).await?;
            n += 1;
        }
    }
    Ok(())
}

async fn set(system: &System, filter: &str) -> Result<Numbers> {
    use muster_broker::{Broker as _, kv};
    let subjects = system.bus.list("KV_agents", &kv::subject("agents", filter)).await?;
    let mut all = Numbers::new();
    for entry in system.bus.get_many("KV_agents", &subjects).await? {
        all.union_with(&Numbers::decode(&entry.body.unwrap_or_default()).unwrap());
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_survives_a_crash_at_each_write() -> Result<()> {
    let mut system = System::start().await?;
    let _fleet = system.fleet(AGENTS).await?;
    system.make_group("web", "agent:\n  queue_size: 1007\n").await?;
    // One round puts everybody in, the next takes everybody out.
    let task = |n: usize| {
        let operation = if n.is_multiple_of(2) { "assign" } else { "unassign" };
        json!({ "id": format!("move-{n}"), "target": { "type": "all" }, "args": { "operation": operation, "groups": ["web"] } })
    };
    points(&mut system, "group-assignment", &ASSIGNMENT, task, async |system, n| {
        let summary = system.ended(&format!("move-{n}")).await;
        assert_eq!((summary.state, summary.recipients), (State::Succeeded, Some(u64::from(AGENTS))), "{summary:?}");
        assert_eq!(summary.counts.success, u64::from(AGENTS));
        let inside = n.is_multiple_of(2);
        let members = set(system, "group.web.*").await?;
        for agent in system.records().await? {
            assert_eq!(agent.in_group("web"), inside);
            assert_eq!(members.contains(agent.number), inside);
            let entry = agent.grouped_by().unwrap();
            assert_eq!(entry.task, format!("move-{n}"));
            // Each round changes each record once: the first version is that of the enrolment.
            assert_eq!(
                agent.version.number,
                agent.version.number.min(n as u64 + 2),
                "agent {} was changed twice",
                agent.number
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_survives_a_crash_at_each_write() -> Result<()> {
    let mut system = System::start().await?;
    let _fleet = system.fleet(AGENTS).await?;
    let task = |n: usize| {
        let content = format!("agent:\n  queue_size: 1{:03}\n", n + 1);
        json!({ "id": format!("config-{n}"), "target": { "type": "group", "id": "default" }, "args": { "content": content } })
    };
    points(&mut system, "group-configuration", &CONFIGURATION, task, async |system, n| {
        let summary = system.ended(&format!("config-{n}")).await;
        assert_eq!((summary.state, summary.counts.success), (State::Succeeded, u64::from(AGENTS)), "{summary:?}");
        let group: Group = system.read("agents", "gmeta.default").await?.unwrap();
        assert_eq!(group.contents[&Lane::of("config")].revision, n as u64 + 1);
        for agent in system.records().await? {
            let entry = agent.lanes.values().find(|entry| entry.digest.is_some()).unwrap();
            assert_eq!(entry.digest.as_ref(), group.contents[&Lane::of("config")].digest.as_ref());
        }
        Ok(())
    })
    .await
}

/// Virtual agents have no program that could be replaced: each refuses, once for each task.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_survives_a_crash_at_each_write() -> Result<()> {
    let mut system = System::start().await?;
    system.run("agent-package", &[])?;
    let _fleet = system.fleet(AGENTS).await?;
    let package = json!({ "name": "next", "version": "9.9.9", "os": "linux", "arch": std::env::consts::ARCH, "size": 1,
        "sha256": "0".repeat(64), "signature": "s" });
    let known = system.publish("agent-package", &json!({ "args": { "package": package } })).await?;
    assert_eq!(system.ended(&known).await.state, State::Succeeded, "there is no node that could fetch it");
    let task =
        |n: usize| json!({ "id": format!("upgrade-{n}"), "target": { "type": "all" }, "args": { "version": "9.9.9" } });
    points(&mut system, "agent-upgrade", &UPGRADE, task, async |system, n| {
        let summary = system.ended(&format!("upgrade-{n}")).await;
        assert_eq!((summary.state, summary.counts.failure), (State::Failed, u64::from(AGENTS)), "{summary:?}");
        for agent in system.records().await? {
            let entry = &agent.lanes[&Lane::of(Lane::VERSION)];
            assert_eq!(entry.task, format!("upgrade-{n}"));
            // One change for each round, after that of the enrolment.
            assert_eq!(entry.version.number, n as u64 + 2, "agent {}", agent.number);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_survives_a_crash_at_each_write() -> Result<()> {
    let mut system = System::start().await?;
    let _fleet = system.fleet(AGENTS).await?;
    for n in 0..DELETION.len() * 4 {
        system.make_group(&format!("old-{n}"), "").await?;
        let join = json!({ "target": { "type": "query", "id": "id < 0050" }, "args": { "operation": "assign", "groups": [format!("old-{n}")] } });
        let id = system.publish("group-assignment", &join).await?;
        assert!(system.ended(&id).await.counts.success > 0);
    }
    let task = |n: usize| json!({ "id": format!("delete-{n}"), "args": { "operation": "delete-group", "group": format!("old-{n}") } });
    points(&mut system, "group-assignment", &DELETION, task, async |system, n| {
        let summary = system.ended(&format!("delete-{n}")).await;
        assert_eq!(summary.state, State::Succeeded, "{summary:?}");
        assert_eq!(summary.counts.success, summary.recipients.unwrap());
        assert!(set(system, &format!("group.old-{n}.*")).await?.is_empty());
        eventually("the deletion", PATIENCE, || async {
            let group: Option<Group> = system.read("agents", &format!("gmeta.old-{n}")).await.ok()?;
            group.filter(|g| g.life == Life::Deleted).map(|_| ())
        })
        .await;
        Ok(())
    })
    .await
}

/// The function is stopped at a write, the task is cancelled, the function wakes: from the confirmation on it changes
/// nothing, and what was decided before goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_each_write_is_kept_by_a_function_that_wakes_later() -> Result<()> {
    let mut system = System::start().await?;
    let _fleet = system.fleet(AGENTS).await?;
    let function = "group-assignment";
    let points = [
        "$KV.tasks.",
        "$KV.agents.plan.",
        "$KV.agents.recipients.",
        "$KV.agents.page.",
        "$KV.agents.page.ID.1",
        "facts.",
    ];
    let mut n = 0;
    for point in points {
        for when in ["before", "after"] {
            let (id, group) = (format!("cancel-{n}"), format!("g{n}"));
            n += 1;
            system.make_group(&group, "").await?;
            system.kill(function)?;
            let how = format!("stop-{when}:{}", point.replace("ID", &id));
            println!("{how}");
            system.run(function, &[("MUSTER_CRASH", &how)])?;
            let task =
                json!({ "id": id, "target": { "type": "all" }, "args": { "operation": "assign", "groups": [group] } });
            system.publish(function, &task).await?;
            stopped(&how, system.copies(function)[0].id()).await;
            let answer = system.ask("task.cancel", &json!({ "id": id })).await?;
            assert_eq!(answer["cancelled"], true, "{how}: {answer}");
            let confirmed: Vec<_> = system.records().await?;
            system.copies(function)[0].signal(Signal::CONT)?;
            let summary = system.ended(&id).await;
            assert_eq!(summary.state, State::Cancelled, "{how}: {summary:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
            let after = system.records().await?;
            assert!(after == confirmed, "{how}: records changed after the cancel was confirmed");
            let members = after.iter().filter(|a| a.in_group(&group)).count() as u64;
            assert_eq!(summary.counts.success, members, "{how}: {summary:?}");
            if let Some(recipients) = summary.recipients.filter(|r| *r > 0) {
                assert_eq!(
                    (recipients, summary.counts.cancelled),
                    (u64::from(AGENTS), u64::from(AGENTS) - members),
                    "{how}"
                );
            }
        }
    }
    Ok(())
}

async fn stopped(how: &str, pid: u32) {
    eventually(&format!("{how}: the stop"), PATIENCE, || async move {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')).then_some(())
    })
    .await;
}
