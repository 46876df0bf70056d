//! Agents become other versions of themselves: packages signed with minisign, brought to a node, fetched through the
//! gateway, started by the supervisor. `/proc/<pid>/exe` shows which program runs.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use minisign::KeyPair;
use muster_agent::upgrade::{Phase, Places};
use muster_core::names::digest;
use muster_core::status::State;
use muster_core::summary::Summary;
use muster_testkit::{PATIENCE, Process, Signal, binary, eventually};
use muster_tests::System;
use serde_json::json;

/// The version of `muster-agent-next`.
const NEXT: &str = "9.1.0";
const NOW: &str = muster_agent::VERSION;

/// A system with a node that trusts a key.
struct World {
    system: System,
    home: tempfile::TempDir,
    pair: KeyPair,
}

impl World {
    async fn start() -> Result<Self> {
        let mut system = System::start().await?;
        let (home, pair) = (tempfile::tempdir()?, KeyPair::generate_unencrypted_keypair()?);
        system.env.push(("MUSTER_UPGRADE_PROOF".into(), "20".into()));
        // What the test looks for in a log is plain text.
        system.env.push(("NO_COLOR".into(), "1".into()));
        system.run("agent-package", &[])?;
        system.run("agent-upgrade", &[])?;
        system.node("node-1", &home.path().join("node"), &pair.pk.to_base64())?;
        system.nodes(1).await;
        Ok(Self { system, home, pair })
    }

    fn root(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn places(&self, name: &str) -> Places {
        Places::open(&self.root(name)).unwrap()
    }

    /// A real agent that trusts the key, with its id.
    async fn agent(&self, name: &str) -> Result<(Process, String)> {
        fs::create_dir_all(self.root(name))?;
        fs::write(self.root(name).join("package.pub"), self.pair.pk.to_box()?.to_string())?;
        let agent = self.system.agent(&self.root(name), name)?;
        Ok((agent, self.said(name, NOW).await))
    }

    /// The id of an agent, once it has said that it has this version.
    async fn said(&self, name: &str, version: &str) -> String {
        eventually(&format!("{name} with version {version}"), PATIENCE, || async {
            let question = json!({ "query": format!("name = {name} and version = {version}") });
            let answer = self.system.ask("agent.list", &question).await.map_err(|e| e.to_string())?;
            answer["agents"][0]["id"].as_str().map(str::to_owned).ok_or(answer.to_string())
        })
        .await
    }

    /// Signs a program and brings it to the node.
    async fn package(&self, version: &str, program: &[u8]) -> Result<String> {
        let name = format!("muster-agent-{version}");
        let store = jetstream::new(self.system.client.clone()).get_object_store("packages").await?;
        store.put(name.as_str(), &mut &*program).await?;
        let sha256 = digest(program);
        let signature = minisign::sign(None, &self.pair.sk, Cursor::new(program), None, None)?.to_string();
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let task = json!({ "args": { "package": { "name": name, "version": version, "os": os, "arch": arch,
            "size": program.len(), "sha256": sha256, "signature": signature } } });
        let ended = self.system.done("agent-package", &task).await?;
        assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 1), "{ended:?}");
        Ok(sha256)
    }

    /// Makes the node hand out parts of this size.
    async fn parts_of(&self, size: &str) -> Result<()> {
        let task = json!({ "args": { "content": format!("packages:\n  chunk_size: {size}\n") } });
        assert_eq!(self.system.done("server-configuration", &task).await?.counts.success, 1);
        Ok(())
    }

    async fn publish(&self, version: &str, force: bool, agents: &[&str]) -> Result<String> {
        let target = json!({ "type": "agent", "id": agents });
        let task = json!({ "target": target, "args": { "version": version, "force": force } });
        self.system.publish("agent-upgrade", &task).await
    }

    async fn upgrade(&self, version: &str, force: bool, agents: &[&str]) -> Result<Summary> {
        let id = self.publish(version, force, agents).await?;
        Ok(self.system.ended(&id).await)
    }

    /// The message of what a task's only recipient reported.
    async fn message(&self, summary: &Summary, agent: &str) -> Result<String> {
        Ok(self.system.result(&summary.id, agent).await?["message"].as_str().unwrap_or_default().to_owned())
    }
}

/// A program of the workspace, without what only a debugger looks at where that can be had.
fn program(name: &str) -> Result<Vec<u8>> {
    let built = PathBuf::from(binary(name)?.get_program());
    let home = tempfile::tempdir()?;
    let small = home.path().join(name);
    let stripped = Command::new("strip").arg("-o").arg(&small).arg(&built).status();
    Ok(fs::read(if stripped.is_ok_and(|status| status.success()) { small } else { built })?)
}

/// Waits until the agent below this supervisor runs this program.
async fn runs(agent: &Process, program: &Path) {
    eventually(&format!("{} at work", program.display()), PATIENCE, || async {
        let id = agent.child().ok_or("no process")?;
        let found = fs::read_link(format!("/proc/{id}/exe")).map_err(|e| e.to_string())?;
        if found == program { Ok(()) } else { Err(found.display().to_string()) }
    })
    .await;
}

fn installed() -> PathBuf {
    PathBuf::from(binary("muster-agent").unwrap().get_program())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_becomes_another_version_and_an_older_one_only_by_force() -> Result<()> {
    let world = World::start().await?;
    let (mut agent, id) = world.agent("a1").await?;
    let (places, ids) = (world.places("a1"), [id.as_str()]);
    runs(&agent, &installed()).await;
    let unknown = world.upgrade(NEXT, false, &ids).await?;
    assert_eq!((unknown.state, unknown.errors[0].code.as_str()), (State::Rejected, "unknown-version"));

    world.package(NEXT, &program("muster-agent-next")?).await?;
    let ended = world.upgrade(NEXT, false, &ids).await?;
    assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 1), "{ended:?}");
    runs(&agent, &places.program(NEXT)).await;
    assert_eq!(world.said("a1", NEXT).await, id);
    assert_eq!((places.in_force()?.as_deref(), places.switch()?), (Some(NEXT), None));

    // Again: nothing happens. Its process is the same still.
    let process = agent.child();
    let again = world.upgrade(NEXT, false, &ids).await?;
    assert_eq!((again.state, again.counts.skipped), (State::Succeeded, 1), "{again:?}");
    world.package(NOW, &program("muster-agent")?).await?;
    let refused = world.upgrade(NOW, false, &ids).await?;
    assert_eq!(refused.counts.skipped, 1, "{refused:?}");
    assert_eq!(agent.child(), process);
    let forced = world.upgrade(NOW, true, &ids).await?;
    assert_eq!((forced.state, forced.counts.success), (State::Succeeded, 1), "{forced:?}");
    runs(&agent, &places.program(NOW)).await;
    assert_eq!(world.said("a1", NOW).await, id);

    // What is in force is what the next start runs.
    agent.signal(Signal::TERM)?;
    agent.wait_exit(PATIENCE).await?;
    let agent = world.system.agent(&world.root("a1"), "a1")?;
    runs(&agent, &places.program(NOW)).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_come_up_gives_way_to_the_old_one_and_is_not_tried_again() -> Result<()> {
    let world = World::start().await?;
    let (agent, id) = world.agent("a1").await?;
    // One that trusts no key, and one that trusts another.
    let (distrustful, two) = world.agent("a2").await?;
    fs::remove_file(world.root("a2").join("package.pub"))?;
    let (deceived, three) = world.agent("a3").await?;
    let stranger = KeyPair::generate_unencrypted_keypair()?;
    fs::write(world.root("a3").join("package.pub"), stranger.pk.to_box()?.to_string())?;
    world.package("9.2.0", b"#!/bin/sh\nexit 3\n").await?;
    let ended = world.upgrade("9.2.0", false, &[&id, &two, &three]).await?;
    assert_eq!((ended.state, ended.counts.failure), (State::Failed, 3), "{ended:?}");
    let why = world.message(&ended, &id).await?;
    assert!(why.contains("exit status: 3") && why.ends_with(&format!("version {NOW} runs again")), "{why}");
    let why = world.message(&ended, &two).await?;
    assert!(why.contains("no key is trusted"), "{why}");
    let why = world.message(&ended, &three).await?;
    assert!(why.contains("no key that is trusted here has signed it"), "{why}");
    for agent in [&agent, &distrustful, &deceived] {
        runs(agent, &installed()).await;
    }

    // The version of the lane has failed: no sync makes the agent try it again; a new task does.
    let switches = |agent: &Process| agent.log().matches("another version is staged").count();
    let rename = json!({ "target": { "type": "agent", "id": id }, "args": { "name": "b1" } });
    let renamed = world.system.publish("agent-name", &rename).await?;
    assert_eq!(world.system.ended(&renamed).await.counts.success, 1);
    assert_eq!(switches(&agent), 1);
    let again = world.upgrade("9.2.0", false, &[&id]).await?;
    assert_eq!((again.state, again.counts.failure), (State::Failed, 1), "{again:?}");
    assert_eq!(switches(&agent), 2);

    // A program that is not the version that its package promises is no good either.
    world.package("9.3.0", &program("muster-agent-next")?).await?;
    let other = world.upgrade("9.3.0", false, &[&id]).await?;
    assert_eq!((other.state, other.counts.failure), (State::Failed, 1), "{other:?}");
    assert!(agent.log().contains("the package promised version 9.3.0"));
    runs(&agent, &installed()).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_it_is_killed_it_ends_true() -> Result<()> {
    let world = World::start().await?;
    let (mut agent, id) = world.agent("a1").await?;
    let (places, ids) = (world.places("a1"), [id.as_str()]);
    let next = program("muster-agent-next")?;
    world.parts_of("64KB").await?;

    // In mid-download: what has come stays, and the rest is fetched after the restart.
    let sha256 = world.package(NEXT, &next).await?;
    let task = world.publish(NEXT, false, &ids).await?;
    let length = || fs::metadata(places.part(&sha256)).map_or(0, |part| part.len());
    eventually("a part", PATIENCE, || async { (length() > 1_000_000).then_some(()) }).await;
    agent.kill()?;
    let there = length();
    assert!(there < next.len() as u64, "it was to be killed before all was there");
    let mut agent = world.system.agent(&world.root("a1"), "a1")?;
    world.parts_of("512KB").await?;
    eventually("the rest", PATIENCE, || async { agent.log().contains(&format!("there={there}")).then_some(()) }).await;
    let ended = world.system.ended(&task).await;
    assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 1), "{ended:?}");
    runs(&agent, &places.program(NEXT)).await;

    // After the bytes are there: the disk is as a kill behind the last one leaves it, and nothing is fetched again.
    let now = program("muster-agent")?;
    let sha256 = world.package(NOW, &now).await?;
    agent.kill()?;
    fs::write(places.part(&sha256), &now)?;
    let task = world.publish(NOW, true, &ids).await?;
    let mut agent = world.system.agent(&world.root("a1"), "a1")?;
    let ended = world.system.ended(&task).await;
    assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 1), "{ended:?}");
    assert!(agent.log().contains(&format!("there={}", now.len())));
    runs(&agent, &places.program(NOW)).await;

    // After the switch: a version that takes a while to come up is killed together with the supervisor.
    let other = json!({ "args": { "remove": format!("muster-agent-{NEXT}") } });
    let removed = world.system.publish("agent-package", &other).await?;
    assert_eq!(world.system.ended(&removed).await.counts.success, 1);
    let path = binary("muster-agent-next")?.get_program().to_str().context("a path")?.to_owned();
    world.package("9.1", format!("#!/bin/sh\nsleep 3\nexec {path} \"$@\"\n").as_bytes()).await?;
    let task = world.publish("9.1", false, &ids).await?;
    let tried = || async { places.switch().ok()?.filter(|switch| switch.phase == Phase::Tried) };
    eventually("the switch", PATIENCE, tried).await;
    agent.kill()?;
    let agent = world.system.agent(&world.root("a1"), "a1")?;
    let ended = world.system.ended(&task).await;
    assert_eq!((ended.state, ended.counts.failure), (State::Failed, 1), "{ended:?}");
    let why = world.message(&ended, &id).await?;
    assert!(why.contains("was stopped before its hello was answered"), "{why}");
    runs(&agent, &places.program(NOW)).await;
    // The same when it alone is killed.
    let task = world.publish("9.1", false, &ids).await?;
    eventually("the switch", PATIENCE, tried).await;
    eventually("its process", PATIENCE, || async { agent.signal_child(Signal::KILL).ok() }).await;
    let ended = world.system.ended(&task).await;
    assert_eq!((ended.state, ended.counts.failure), (State::Failed, 1), "{ended:?}");
    runs(&agent, &places.program(NOW)).await;
    // And left alone it comes up.
    let ended = world.upgrade("9.1", false, &ids).await?;
    assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 1), "{ended:?}");
    assert_eq!(world.said("a1", NEXT).await, id);
    Ok(())
}
