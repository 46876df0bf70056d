//! Active responses: brought to agents, run for alerts, undone, each at most once.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use muster_core::status::State;
use muster_core::summary::Summary;
use muster_testkit::{PATIENCE, Process, eventually};
use muster_tests::{System, codes};
use serde_json::{Value, json};

/// A program that writes down what it is told, and sleeps as long as the alert says.
const PROGRAM: &str = r#"#!/bin/sh
read -r line
echo "$1|$line" >> told.log
case "$line" in *'"slow":true'*'"command":"add"'*|*'"command":"add"'*'"slow":true'*) sleep 60;; esac
echo "did it"
"#;

struct World {
    system: System,
    home: tempfile::TempDir,
    id: String,
    agent: Option<Process>,
}

impl World {
    /// An agent in the group web, with a program.
    async fn start() -> Result<Self> {
        let mut system = System::start().await?;
        system.run("active-response-configuration", &[])?;
        system.run("active-response-execution", &[])?;
        system.make_group("web", "").await?;
        let home = tempfile::tempdir()?;
        let agent = system.agent(&home.path().join("a1"), "web-1")?;
        let id = system.enrolled("web-1").await;
        let world = Self { system, home, id, agent: Some(agent) };
        let join = json!({ "operation": "assign", "groups": ["web"] });
        let joined = world.system.done("group-assignment", &json!({ "target": world.target(), "args": join })).await?;
        assert_eq!(joined.counts.success, 1, "{joined:?}");
        let program = eventually("the agent's directory", PATIENCE, || async {
            let bin = world.root().join("active-response/bin");
            bin.is_dir().then(|| bin.join("note"))
        })
        .await;
        fs::write(&program, PROGRAM)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o750))?;
        Ok(world)
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("a1")
    }

    fn target(&self) -> Value {
        json!({ "type": "agent", "id": self.id })
    }

    async fn put(&self, name: &str, rest: &str) -> Result<Summary> {
        let content = format!("name: {name}\nexecutable: note\nextra_arguments: ['a b; $(c)']\n{rest}");
        self.system
            .done(
                "active-response-configuration",
                &of_web(json!({ "operation": "put", "name": name, "content": content })),
            )
            .await
    }

    /// Runs a response for an alert of the agent.
    async fn run(&self, name: &str, data: Value) -> Result<Summary> {
        self.system
            .done("active-response-execution", &json!({ "args": { "name": name, "alert": self.alert(data) } }))
            .await
    }

    fn alert(&self, data: Value) -> Value {
        json!({ "agent": { "id": self.id }, "data": data })
    }

    /// What the agent reported for a task.
    async fn outcome(&self, task: &Summary) -> Result<Value> {
        let answer = self.system.ask("task.targets", &json!({ "id": task.id })).await?;
        Ok(answer["targets"][0].clone())
    }

    /// What the program was told: its first argument and the message.
    fn told(&self) -> Vec<(String, Value)> {
        let log = fs::read_to_string(self.root().join("told.log")).unwrap_or_default();
        let line = |line: &str| {
            let (argument, message) = line.split_once('|').unwrap();
            (argument.to_owned(), serde_json::from_str(message).unwrap())
        };
        log.lines().map(line).collect()
    }

    async fn told_at_least(&self, count: usize) -> Vec<(String, Value)> {
        eventually(&format!("{count} messages to the program"), PATIENCE, || async {
            let told = self.told();
            if told.len() >= count { Ok(told) } else { Err(format!("{told:?}")) }
        })
        .await
    }
}

fn of_web(args: Value) -> Value {
    json!({ "target": { "type": "group", "id": "web" }, "args": args })
}

fn file(root: &Path, name: &str) -> PathBuf {
    root.join(format!("content/active-response/web/{name}.yml"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_brought_run_and_taken_away() -> Result<()> {
    let world = World::start().await?;
    let local = "type: stateless\nlocation: local\nneeds: [data.srcip]\n";
    let put = world.put("note", local).await?;
    assert_eq!((put.state, put.counts.success), (State::Succeeded, 1), "{put:?}");
    assert!(fs::read_to_string(file(&world.root(), "note"))?.contains("executable: note"));
    let again = world.put("note", local).await?;
    assert_eq!((again.state, again.counts.skipped), (State::Succeeded, 1), "{again:?}");

    let run = world.run("note", json!({ "srcip": "203.0.113.7" })).await?;
    assert_eq!((run.state, run.counts.success), (State::Succeeded, 1), "{run:?}");
    let (argument, message) = world.told().pop().expect("the program ran");
    assert_eq!(argument, "a b; $(c)", "one argument, and no shell");
    assert_eq!((&message["version"], &message["command"]), (&json!(1), &json!("add")));
    assert_eq!(message["parameters"]["alert"]["data"]["srcip"], "203.0.113.7");
    let outcome = world.outcome(&run).await?;
    assert_eq!(
        (&outcome["data"]["exit_code"], &outcome["data"]["output"]),
        (&json!(0), &json!("did it\n")),
        "{outcome}"
    );

    // What the alert lacks is a failure with that reason, and the program is not started.
    let lacking = world.run("note", json!({})).await?;
    assert_eq!((lacking.state, lacking.counts.failure), (State::Failed, 1), "{lacking:?}");
    let outcome = world.outcome(&lacking).await?;
    assert!(outcome["message"].as_str().unwrap().contains("data.srcip"), "{outcome}");
    assert_eq!(world.told().len(), 1);

    for (kind, task, refused) in [
        ("active-response-execution", json!({ "args": { "name": "none" } }), ("unknown-active-response", "/args/name")),
        ("active-response-execution", json!({ "args": { "name": "note" } }), ("missing-field", "/args/alert/agent/id")),
        (
            "active-response-configuration",
            of_web(json!({ "operation": "delete", "name": "none" })),
            ("unknown-active-response", "/args/name"),
        ),
        (
            "active-response-configuration",
            of_web(
                json!({ "operation": "put", "name": "x", "content": "name: x\nexecutable: ../sh\ntype: stateless\nlocation: all\n" }),
            ),
            ("schema", "/args/content/executable"),
        ),
        (
            "active-response-configuration",
            json!({ "target": { "type": "group", "id": "none" }, "args": { "operation": "delete", "name": "note" } }),
            ("unknown-group", "/target/id"),
        ),
    ] {
        let summary = world.system.done(kind, &task).await?;
        assert_eq!((summary.state, codes(&summary)[0]), (State::Rejected, refused), "{summary:?}");
    }

    let deleted = world
        .system
        .done("active-response-configuration", &of_web(json!({ "operation": "delete", "name": "note" })))
        .await?;
    assert_eq!((deleted.state, deleted.counts.success), (State::Succeeded, 1), "{deleted:?}");
    assert!(!file(&world.root(), "note").exists());
    let gone = world.run("note", json!({ "srcip": "203.0.113.7" })).await?;
    assert_eq!((gone.counts.skipped, world.told().len()), (1, 1), "{gone:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_response_is_undone_also_by_an_agent_that_was_killed() -> Result<()> {
    let mut world = World::start().await?;
    world.put("block", "type: stateful\nstateful_timeout: 3\nlocation: local\nkeys: [data.srcip]\n").await?;
    let run = world.run("block", json!({ "srcip": "203.0.113.7" })).await?;
    assert_eq!(run.counts.success, 1, "{run:?}");
    world.agent.take().expect("it runs").kill()?;
    assert_eq!(world.told().len(), 1);
    world.agent = Some(world.system.agent(&world.root(), "web-1")?);
    let told = world.told_at_least(2).await;
    assert_eq!(
        (&told[1].1["command"], &told[1].1["parameters"]["alert"]["data"]["srcip"]),
        (&json!("delete"), &json!("203.0.113.7"))
    );

    // Killed while it runs: it may have had any part of its effect, is not run again, and is undone.
    let slow =
        json!({ "args": { "name": "block", "alert": world.alert(json!({ "srcip": "203.0.113.8", "slow": true })) } });
    let task = world.system.publish("active-response-execution", &slow).await?;
    world.told_at_least(3).await;
    world.agent.take().expect("it runs").kill()?;
    world.agent = Some(world.system.agent(&world.root(), "web-1")?);
    let summary = world.system.ended(&task).await;
    assert_eq!((summary.state, summary.counts.failure), (State::Failed, 1), "{summary:?}");
    assert_eq!(world.outcome(&summary).await?["message"], "interrupted");
    let told = world.told_at_least(4).await;
    assert_eq!(told[3].1["command"], "delete");
    assert_eq!(told.iter().filter(|(_, message)| message["command"] == "add").count(), 2, "{told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_section_takes_the_contents_away_and_brings_them_back_without_a_restart() -> Result<()> {
    let world = World::start().await?;
    world.put("note", "type: stateless\nlocation: local\n").await?;
    let pid = world.agent.as_ref().map(Process::id);
    let configure = |content: &str| of_web(json!({ "content": content }));
    let disabled = world.system.done("group-configuration", &configure("active_response: {enabled: false}\n")).await?;
    assert_eq!(disabled.counts.success, 1, "{disabled:?}");
    assert!(!file(&world.root(), "note").exists());
    let contents = fs::read_dir(world.root().join("content/groups"))?;
    let texts: Vec<String> = contents.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(texts.iter().all(|text| !text.contains("executable")), "{texts:?}");
    let refused = world.run("note", json!({})).await?;
    assert_eq!(refused.counts.failure, 1, "{refused:?}");
    assert!(world.outcome(&refused).await?["message"].as_str().unwrap().contains("disabled"));
    // What is put meanwhile is taken, and is not on the disk either.
    let second = world.put("second", "type: stateless\nlocation: all\n").await?;
    assert_eq!(second.counts.success, 1, "{second:?}");
    assert!(!file(&world.root(), "second").exists());

    let enabled = world.system.done("group-configuration", &configure("active_response: {enabled: true}\n")).await?;
    assert_eq!(enabled.counts.success, 1, "{enabled:?}");
    eventually("the contents", PATIENCE, || async {
        (file(&world.root(), "note").exists() && file(&world.root(), "second").exists()).then_some(())
    })
    .await;
    for name in ["note", "second"] {
        assert_eq!(world.run(name, json!({})).await?.counts.success, 1, "{name}");
    }
    assert_eq!(world.agent.as_ref().map(Process::id), pid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_runs_where_its_location_says() -> Result<()> {
    let world = World::start().await?;
    let _fleet = world.system.fleet(20).await?;
    let join = json!({ "target": { "type": "all" }, "args": { "operation": "assign", "groups": ["web"] } });
    world.system.done("group-assignment", &join).await?;
    world.system.make_group("eu", "").await?;
    let few = json!({ "target": { "type": "query", "id": "name ~ v-0000*" }, "args": { "operation": "assign", "groups": ["eu"] } });
    let few = world.system.done("group-assignment", &few).await?.counts.success;
    assert!(few > 0 && few < 20);
    for (name, location, count) in [
        ("one", "location: defined-agent\nagent_id: '".to_owned() + &world.id + "'\n", 1),
        ("group", "location: group\ngroup: eu\n".to_owned(), few),
        ("all", "location: all\n".to_owned(), 21),
    ] {
        world.put(name, &format!("type: stateless\n{location}")).await?;
        let run = world.run(name, json!({})).await?;
        assert_eq!(
            (run.state, run.counts.success, run.recipients),
            (State::Succeeded, count, Some(count)),
            "{name}: {run:?}"
        );
    }
    let task = json!({ "target": world.target(), "args": { "name": "all" } });
    let chosen = world.system.done("active-response-execution", &task).await?;
    assert_eq!(chosen.recipients, Some(1), "the task's target goes before the location");
    assert_eq!(world.told().len(), 3);
    Ok(())
}
