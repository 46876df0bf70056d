//! Tasks that meet: over the same agents, over the same group, with two copies of everything at work.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use anyhow::Result;
use muster_core::lane::Lane;
use muster_core::record::{Group, Life};
use muster_core::status::State;
use muster_testkit::{PATIENCE, Process, eventually};
use muster_tests::{COMPONENTS, System};
use serde_json::{Value, json};

const AGENTS: u32 = 300;

async fn system() -> Result<(System, Process)> {
    let mut system = System::start().await?;
    for component in COMPONENTS {
        system.run(component, &[])?;
    }
    let fleet = system.fleet(AGENTS).await?;
    for group in ["a", "b", "c"] {
        system.make_group(group, "").await?;
    }
    Ok((system, fleet))
}

fn groups(operation: &str, groups: &[&str]) -> Value {
    json!({ "target": { "type": "all" }, "args": { "operation": operation, "groups": groups } })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_over_the_same_agents_act_in_their_order() -> Result<()> {
    let (system, _fleet) = system().await?;
    let pairs = [
        (groups("replace", &["a"]), groups("replace", &["b"]), vec!["b"]),
        (groups("replace", &["c"]), groups("assign", &["a"]), vec!["c", "a"]),
        (groups("assign", &["b"]), groups("unassign", &["b"]), vec!["c", "a"]),
        (groups("assign", &["b"]), groups("replace", &["a", "b"]), vec!["a", "b"]),
        (groups("unassign", &["a"]), groups("assign", &["a"]), vec!["b", "a"]),
    ];
    for (first, second, expected) in pairs {
        let first_id = system.publish("group-assignment", &first).await?;
        let second_id = system.publish("group-assignment", &second).await?;
        let (one, two) = (system.ended(&first_id).await, system.ended(&second_id).await);
        assert_eq!((one.state, two.state), (State::Succeeded, State::Succeeded));
        assert_eq!(one.counts.success + one.counts.superseded, u64::from(AGENTS), "{one:?}");
        assert_eq!(two.counts.success, u64::from(AGENTS), "{two:?}");
        for agent in system.records().await? {
            assert_eq!(agent.groups, expected, "{first} then {second}");
        }
    }
    Ok(())
}

/// Agents join and leave a group while its configuration changes again and again: in the end each member has the
/// newest configuration in its record, and nobody else has any of the group's.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_or_leaves_while_a_configuration_changes_ends_with_the_right_one() -> Result<()> {
    let (system, _fleet) = system().await?;
    let mut tasks = Vec::new();
    for round in 0..12u32 {
        let content = format!("agent:\n  queue_size: 1{:03}\n", round + 1);
        let change = json!({ "target": { "type": "group", "id": "a" }, "args": { "content": content } });
        let part = json!({ "type": "query", "id": format!("id ~ *{}", round % 10) });
        let operation = if round.is_multiple_of(3) { "unassign" } else { "assign" };
        let part = json!({ "target": part, "args": { "operation": operation, "groups": ["a"] } });
        // Both at once, in turn the one and the other first.
        let (x, y) = if round.is_multiple_of(2) {
            (("group-configuration", &change), ("group-assignment", &part))
        } else {
            (("group-assignment", &part), ("group-configuration", &change))
        };
        let (x, y) = futures::join!(system.publish(x.0, x.1), system.publish(y.0, y.1));
        tasks.extend([x?, y?]);
    }
    for task in &tasks {
        let summary = system.ended(task).await;
        assert_eq!(summary.state, State::Succeeded, "{summary:?}");
        assert_eq!(summary.counts.total(), summary.recipients.unwrap());
    }
    let group: Group = system.read("agents", "gmeta.a").await?.unwrap();
    let newest = &group.contents[&Lane::of("config")];
    let lane = Lane::config("a");
    let mut members = 0;
    for agent in system.records().await? {
        let digest = agent.lanes.get(&lane).and_then(|entry| entry.digest.as_ref());
        assert_eq!(digest, newest.digest.as_ref().filter(|_| agent.in_group("a")), "agent {}", agent.number);
        members += u64::from(agent.in_group("a"));
    }
    assert!(members > 0 && members < u64::from(AGENTS));
    let shown = system.ask("group.get", &json!({ "group": "a" })).await?;
    assert_eq!(shown["members"], members);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_deleted_before_or_after_an_assignment_never_during() -> Result<()> {
    let (system, _fleet) = system().await?;
    for round in 0..4u32 {
        let name = format!("old-{round}");
        system.make_group(&name, "agent:\n  queue_size: 1003\n").await?;
        let join = system.publish("group-assignment", &groups("assign", &[&name])).await?;
        system.ended(&join).await;
        let delete = json!({ "args": { "operation": "delete-group", "group": name } });
        let again = groups("assign", &[&name, "b"]);
        let change =
            json!({ "target": { "type": "group", "id": name }, "args": { "content": "agent:\n  queue_size: 1004\n" } });
        let (x, y) = if round.is_multiple_of(2) { (&delete, &again) } else { (&again, &delete) };
        let first = system.publish("group-assignment", x).await?;
        let config = system.publish("group-configuration", &change).await?;
        let second = system.publish("group-assignment", y).await?;
        let (first, config, second) =
            (system.ended(&first).await, system.ended(&config).await, system.ended(&second).await);
        let (deleted, assigned) = if round.is_multiple_of(2) { (first, second) } else { (second, first) };
        assert_eq!(deleted.state, State::Succeeded, "{deleted:?}");
        let expected = if round.is_multiple_of(2) { State::Rejected } else { State::Succeeded };
        assert_eq!(assigned.state, expected, "{assigned:?}");
        assert!(config.state.is_end() && config.counts.total() == config.recipients.unwrap());
        eventually("the end of the group", PATIENCE, || async {
            let group: Group = system.read("agents", &format!("gmeta.{name}")).await.ok()??;
            (group.life == Life::Deleted).then_some(())
        })
        .await;
        for agent in system.records().await? {
            assert!(
                !agent.in_group(&name) && !agent.lanes.contains_key(&Lane::config(&name)),
                "agent {}",
                agent.number
            );
        }
        let shown = system.ask("group.get", &json!({ "group": name })).await?;
        assert_eq!(shown["members"], 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_a_decision_wherever_it_falls() -> Result<()> {
    let (system, _fleet) = system().await?;
    for round in 0..12u64 {
        let (operation, before) = if round.is_multiple_of(2) { ("assign", false) } else { ("unassign", true) };
        let id = format!("c{round}");
        let task =
            json!({ "id": id, "target": { "type": "all" }, "args": { "operation": operation, "groups": ["c"] } });
        system.publish("group-assignment", &task).await?;
        tokio::time::sleep(std::time::Duration::from_millis(round * 6)).await;
        let answer = system.ask("task.cancel", &json!({ "id": id })).await?;
        let at_cancel = system.records().await?;
        let summary = system.ended(&id).await;
        match summary.state {
            State::Cancelled => assert_eq!(answer["cancelled"], true),
            // It had ended before the cancel came.
            State::Succeeded => assert_eq!(answer["errors"][0]["code"], "ended"),
            other => panic!("{other:?}: {summary:?}"),
        }
        assert_eq!(summary.counts.total(), summary.recipients.unwrap_or(0));
        // No index change begins after the confirmation, and what was decided stays.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let after = system.records().await?;
        assert!(at_cancel == after, "round {round}: records changed after the cancel was confirmed");
        let changed = after.iter().filter(|a| a.in_group("c") != before).count() as u64;
        if summary.state == State::Cancelled && summary.recipients.unwrap_or(0) > 0 {
            assert_eq!(summary.counts.success, changed, "{summary:?}");
        }
        // Everybody back to one side for the next round.
        let settle = json!({ "target": { "type": "all" }, "args": { "operation": operation, "groups": ["c"] } });
        let settle = system.publish("group-assignment", &settle).await?;
        assert_eq!(system.ended(&settle).await.state, State::Succeeded);
    }
    Ok(())
}
