//! Names and deletions of agents.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::Duration;

use anyhow::Result;
use muster_broker::Broker as _;
use muster_core::record::Agent;
use muster_core::status::State;
use muster_testkit::{PATIENCE, eventually};
use muster_tests::System;
use serde_json::{Value, json};

fn rename(id: &str, name: &str) -> Value {
    json!({ "target": { "type": "agent", "id": id }, "args": { "name": name } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_one_agents_and_the_id_stays() -> Result<()> {
    let system = System::start().await?;
    let home = tempfile::tempdir()?;
    let root = home.path().join("a1");
    let _agent = system.agent(&root, "web-1")?;
    let id = system.enrolled("web-1").await;
    let _fleet = system.fleet(2).await?;
    let ended = system.done("agent-name", &rename(&id, "db.example")).await?;
    assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 1), "{ended:?}");
    let file: Value = serde_json::from_slice(&std::fs::read(root.join("agent.json"))?)?;
    assert_eq!((file["id"].as_str(), file["name"].as_str()), (Some(id.as_str()), Some("db.example")));
    // The same again changes nothing; the old name is free for another.
    let again = system.done("agent-name", &rename(&id, "db.example")).await?;
    assert_eq!((again.state, again.counts.skipped), (State::Succeeded, 1));
    let other = system.records().await?.into_iter().find(|agent| agent.name.starts_with("v-")).expect("a virtual one");
    let other = muster_core::record::agent_id(other.number);
    let taken = system.done("agent-name", &rename(&other, "db.example")).await?;
    assert_eq!(
        (taken.state, taken.errors[0].code.as_str(), taken.errors[0].pointer.as_str()),
        (State::Rejected, "name-taken", "/args/name")
    );
    let free = system.done("agent-name", &rename(&other, "web-1")).await?;
    assert_eq!(free.counts.success, 1, "{free:?}");
    assert_eq!(system.read::<String>("agents", "name.db=2eexample").await?, Some(id.clone()));
    for (id, name, code) in
        [("999", "x1", "unknown-agent"), (&id, "a.*.>", "schema"), (&id, &"x".repeat(255), "schema")]
    {
        let refused = system.done("agent-name", &rename(id, name)).await?;
        assert_eq!((refused.state, refused.errors[0].code.as_str()), (State::Rejected, code), "{name}");
    }
    // Upper and lower case are two names, a trailing dot is a part of one.
    for name in ["WEB-9", "web-9", "web-9."] {
        let named = system.done("agent-name", &rename(&id, name)).await?;
        assert_eq!(named.counts.success, 1, "{name}: {named:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tasks_that_race_for_a_name_one_wins() -> Result<()> {
    let mut system = System::start().await?;
    system.run("agent-name", &[])?;
    let _fleet = system.fleet(2).await?;
    for round in 0..5 {
        let name = format!("prize-{round}");
        let tasks = [rename("001", &name), rename("002", &name)];
        let [one, two] =
            [system.publish("agent-name", &tasks[0]).await?, system.publish("agent-name", &tasks[1]).await?];
        let (one, two) = (system.ended(&one).await, system.ended(&two).await);
        assert_eq!((one.state, two.state), (State::Succeeded, State::Rejected), "the first in order wins");
        assert_eq!(system.read::<String>("agents", &format!("name.{name}")).await?, Some("001".into()));
        assert_eq!(system.record(1).await?.name, name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_agent_is_gone_for_ever() -> Result<()> {
    let mut system = System::start().await?;
    let home = tempfile::tempdir()?;
    let root = home.path().join("a1");
    let agent = system.agent(&root, "web-1")?;
    let id = system.enrolled("web-1").await;
    let _fleet = system.fleet(4).await?;
    system.make_group("web", "agent:\n  queue_size: 1009\n").await?;

    // An open task of an agent that is away: its recipient is gone with it.
    agent.signal_child(muster_testkit::Signal::STOP)?;
    let assign =
        json!({ "target": { "type": "agent", "id": id }, "args": { "operation": "assign", "groups": ["web"] } });
    let open = system.publish("group-assignment", &assign).await?;
    system.summary(&open, "its recipient", |s| s.counts.pending == 1).await;
    let delete = json!({ "target": { "type": "agent", "id": id }, "args": {} });
    let task = system.publish("agent-deletion", &delete).await?;
    let ended = system.ended(&open).await;
    assert_eq!((ended.state, ended.counts.gone), (State::Succeeded, 1), "{ended:?}");
    agent.signal_child(muster_testkit::Signal::CONT)?;
    let ended = system.ended(&task).await;
    assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 1), "{ended:?}");

    let record: Agent = system.read("agents", &format!("id.{id}")).await?.expect("the tombstone");
    assert!(record.gone && record.groups.is_empty() && record.lanes.is_empty(), "{record:?}");
    assert_eq!(system.read::<String>("agents", "name.web-1").await?, None);
    assert_eq!(system.ask("group.members", &json!({ "group": "web" })).await?["total"], 0);
    // Its key is refused, and it is nobody's recipient any more.
    eventually("the agent's end", PATIENCE, || async {
        let log = agent.log();
        (log.contains("deleted") || log.contains("does not let this agent in")).then_some(())
    })
    .await;
    let refused = system.done("group-assignment", &assign).await?;
    assert_eq!((refused.state, refused.counts.gone, refused.recipients), (State::Succeeded, 1, Some(1)), "{refused:?}");
    // The name is free, the number is not.
    let second = home.path().join("a2");
    let _new = system.agent(&second, "web-1")?;
    assert_ne!(system.enrolled("web-1").await, id);

    // Many at once, the function killed in between.
    system.kill("agent-deletion")?;
    let many = json!({ "target": { "type": "query", "id": "name ~ v-* and not unseen > 1h" }, "args": {} });
    let task = system.publish("agent-deletion", &many).await?;
    system.run("agent-deletion", &[("MUSTER_CRASH", "kill-after:$KV.agents.page.")])?;
    eventually("the crash", PATIENCE, || async {
        let page: Option<Value> = system.read("agents", &format!("page.{task}.0")).await.ok()?;
        page.map(drop)
    })
    .await;
    system.run("agent-deletion", &[])?;
    let ended = system.ended(&task).await;
    assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 4), "{ended:?}");
    assert_eq!(system.ask("agent.list", &json!({})).await?["total"], 1);
    // What told them stays for nobody: no sync would ever remove it.
    eventually("no farewell waits", Duration::from_secs(15), || async {
        system.bus.list("RUNS", "commands.agent.*.run.*").await.ok()?.is_empty().then_some(())
    })
    .await;
    Ok(())
}
