//! SCA policies and contents: put, scanned, seen, refused, disabled, deleted.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use muster_broker::{Broker as _, Write, kv};
use muster_core::lane::Lane;
use muster_core::names::digest;
use muster_core::record::{Agent, Entry, Group};
use muster_core::stamp::Stamp;
use muster_core::status::State;
use muster_core::summary::Summary;
use muster_testkit::{PATIENCE, Process, ask_as, eventually};
use muster_tests::{System, codes};
use serde_json::{Value, json};

/// An agent in the group `web`, and its directory.
struct World {
    system: System,
    agent: Process,
    root: PathBuf,
    id: String,
    _home: tempfile::TempDir,
}

impl World {
    async fn start(local: &str) -> Result<Self> {
        let mut system = System::start().await?;
        for function in ["sca-policy", "sca-content"] {
            system.run(function, &[])?;
        }
        let home = tempfile::tempdir()?;
        let root = home.path().join("a1");
        std::fs::create_dir(&root)?;
        std::fs::write(root.join("local.yml"), local)?;
        let agent = system.agent(&root, "web-1")?;
        let id = system.enrolled("web-1").await;
        system.make_group("web", "").await?;
        let world = Self { system, agent, root, id, _home: home };
        let join = json!({ "target": { "type": "agent", "id": world.id }, "args": { "operation": "assign", "groups": ["web"] } });
        assert_eq!(world.system.done("group-assignment", &join).await?.counts.success, 1);
        Ok(world)
    }

    /// Does something with a policy of the group `web`, which succeeds for its one member.
    async fn policy(&self, args: Value) -> Result<Summary> {
        let ended = self.system.done("sca-policy", &of_web(args)).await?;
        assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 1), "{ended:?}");
        Ok(ended)
    }

    async fn configure(&self, content: &str) -> Result<()> {
        let task = json!({ "target": { "type": "group", "id": "web" }, "args": { "content": content } });
        assert_eq!(self.system.done("group-configuration", &task).await?.counts.success, 1);
        Ok(())
    }

    /// The stored result of a task.
    async fn result(&self, task: &str) -> Result<Value> {
        self.system.result(task, &self.id).await
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.join("content").join(path)
    }

    /// Whether the agent holds this content, under its digest.
    fn holds(&self, content: &str) -> bool {
        self.file(&format!("groups/{}.yml", digest(content.as_bytes()))).exists()
    }

    /// Waits until `muster agent sca` shows what is wanted.
    async fn found(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, PATIENCE, || async {
            let mut command = self.system.muster().map_err(|e| e.to_string())?;
            let shown = command.args(["agent", "sca", &self.id, "-o", "json"]).output().map_err(|e| e.to_string())?;
            let shown: Value = serde_json::from_slice(&shown.stdout).map_err(|e| format!("{e}: {shown:?}"))?;
            if wanted(&shown["policies"]) { Ok(shown["policies"].clone()) } else { Err(shown.to_string()) }
        })
        .await
    }
}

fn of_web(args: Value) -> Value {
    json!({ "target": { "type": "group", "id": "web" }, "args": args })
}

/// A policy that looks at a file which is there: one check passes, one fails, two are not applicable.
fn policy(file: &Path) -> String {
    let file = file.display();
    format!(
        "policy:\n  id: own\n  name: Of its own\nchecks:\n\
         \x20 - id: 1\n    title: It is there\n    condition: all\n    rules: ['f:{file}']\n\
         \x20 - id: 2\n    title: It says no\n    condition: all\n    rules: ['f:{file} -> r:^answer no$']\n\
         \x20 - id: 3\n    title: A command\n    condition: all\n    rules: ['c:echo hello -> r:hello']\n\
         \x20 - id: 4\n    title: What is missing says something\n    condition: all\n    rules: ['f:{file}.missing -> r:x']\n"
    )
}

fn totals(found: &Value, n: usize) -> (u64, u64, u64) {
    let count = |of: &str| found[n]["report"]["totals"][of].as_u64().unwrap_or(u64::MAX);
    (count("passed"), count("failed"), count("not_applicable"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_put_scanned_seen_disabled_and_deleted() -> Result<()> {
    let mut world = World::start("").await?;
    let looked_at = world.root.join("looked-at");
    std::fs::write(&looked_at, "answer yes\n")?;
    let content = policy(&looked_at);
    let put = json!({ "operation": "put", "name": "Own..", "content": content });
    let ended = world.policy(put.clone()).await?;
    let evidence = world.result(&ended.id).await?["data"].take();
    let wanted = json!({ "digest": digest(content.as_bytes()), "enabled": true, "policy": "own", "checks": 4 });
    assert_eq!(evidence, wanted);
    let file = world.file("sca/web/Own=2e=2e.yml");
    assert_eq!(std::fs::read_to_string(&file)?, content);

    // What it found, as people see it.
    let found = world.found("the findings", |found| totals(found, 0) == (1, 1, 2)).await;
    assert_eq!((&found[0]["group"], &found[0]["name"]), (&json!("web"), &json!("Own..")));
    let checks = found[0]["report"]["checks"].as_array().context("checks")?;
    assert_eq!(checks.iter().map(|check| check["id"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3, 4, 1]);
    assert!(checks[1]["reason"].as_str().unwrap().contains("command") && checks[2]["reason"].is_string(), "{checks:?}");
    let shown = world.system.muster()?.args(["agent", "sca", &world.id, "--policy", "Own.."]).output()?;
    let shown = String::from_utf8(shown.stdout)?;
    let (failed, passed) = (shown.find("It says no").unwrap(), shown.find("It is there").unwrap());
    assert!(failed < passed && shown.contains("web/Own..  1       1       2"), "{shown}");
    let unknown = world.system.muster()?.args(["agent", "sca", &world.id, "--policy", "other"]).output()?;
    assert!(!unknown.status.success());

    // The same again changes nothing.
    let before = world.system.record(1).await?;
    let again = world.system.done("sca-policy", &of_web(put.clone())).await?;
    assert_eq!((again.state, again.counts.skipped), (State::Succeeded, 1), "{again:?}");
    let group: Group = world.system.read("agents", "gmeta.web").await?.context("the group")?;
    assert_eq!(group.contents[&Lane::item_of(Lane::SCA, "Own..")].revision, 1);
    assert_eq!(world.system.record(1).await?, before);

    // Disabled and enabled: by a task, then by the configuration, without a restart.
    for by_task in [true, false] {
        let named = |operation: &str| json!({ "operation": operation, "name": "Own.." });
        if by_task {
            world.policy(named("disable")).await?;
        } else {
            world.configure("sca:\n  enabled: false\n").await?;
        }
        assert!(!file.exists() && !world.holds(&content), "by a task: {by_task}");
        world.found("that nothing is found", |found| found == &json!([])).await;
        if by_task {
            world.policy(named("enable")).await?;
        } else {
            world.configure("sca:\n  enabled: true\n").await?;
        }
        eventually("the policy", PATIENCE, || async { (file.exists() && world.holds(&content)).then_some(()) }).await;
        world.found("the findings", |found| totals(found, 0) == (1, 1, 2)).await;
    }
    assert!(world.agent.is_running()?, "the agent runs on");

    // The agent was away while the policy changed, and goes on with what it is now.
    world.agent.kill()?;
    let changed = content.replace("answer no", "answer yes");
    let task = world
        .system
        .publish("sca-policy", &of_web(json!({ "operation": "put", "name": "Own..", "content": changed })))
        .await?;
    world.agent = world.system.agent(&world.root, "web-1")?;
    assert_eq!(world.system.ended(&task).await.counts.success, 1);
    assert_eq!(std::fs::read_to_string(&file)?, changed);
    world.found("the findings of the changed one", |found| totals(found, 0) == (2, 0, 2)).await;

    let removed = world.policy(json!({ "operation": "delete", "name": "Own.." })).await?;
    assert_eq!(world.result(&removed.id).await?["code"], 0);
    assert!(!world.file("sca/web").exists() && !world.holds(&changed));
    world.found("that nothing is found", |found| found == &json!([])).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_with_its_place() -> Result<()> {
    let world = World::start("").await?;
    let good = policy(&world.root);
    let put = |name: &str, content: &str| json!({ "operation": "put", "name": name, "content": content });
    let of = |group: &str, args: Value| json!({ "target": { "type": "group", "id": group }, "args": args });
    let named = |operation: &str| json!({ "operation": operation, "name": "own" });
    for (task, code, pointer) in [
        (of("web", put("own", &good.replace("c:echo", "x:echo"))), "rule", "/args/content/checks/2/rules/0"),
        (of("web", put("own", "policy: {id: own}\n")), "schema", "/args/content"),
        (of("nobody", put("own", &good)), "unknown-group", "/target/id"),
        (of("web", named("delete")), "unknown-policy", "/args/name"),
        (of("web", named("enable")), "unknown-policy", "/args/name"),
        (of("web", put("../own", &good)), "schema", "/args/name"),
        (of("web", put("own.*.>", &good)), "schema", "/args/name"),
        (of("web", put(&"x".repeat(255), &good)), "schema", "/args/name"),
        (of("web", put("..", &good)), "schema", "/args/name"),
    ] {
        let refused = world.system.done("sca-policy", &task).await?;
        assert_eq!(refused.state, State::Rejected, "{task}");
        assert!(codes(&refused).contains(&(code, pointer)), "{task}: {:?}", refused.errors);
    }
    let refused = world.system.done("sca-policy", &of("web", put("own", &good.replace("c:echo", "x:echo")))).await?;
    assert!(refused.errors[0].message.starts_with("check 3: "), "{:?}", refused.errors);
    // Names that bite, and are good.
    for name in ["...", "OWN", "own", "own.", &"x".repeat(128)] {
        world.policy(put(name, &good)).await?;
    }
    assert_eq!(std::fs::read_dir(world.file("sca/web"))?.count(), 5);
    let found = world.found("all of them", |found| found.as_array().is_some_and(|found| found.len() == 5)).await;
    assert!(found.as_array().unwrap().iter().any(|found| found["name"] == "..."));
    Ok(())
}

/// Makes the agent's record say that it is to have another body in a lane, as a function with another opinion of what is
/// good would.
async fn hand_over(world: &World, lane: &Lane, body: &str, task: &str) -> Result<()> {
    let (bucket, key) = lane.body_at(&digest(body.as_bytes())).context("a lane with bodies")?;
    let store = |bucket: &str, key: &str, value: Vec<u8>| {
        (kv::stream(bucket), vec![Write::new(kv::subject(bucket, key), value)])
    };
    let mut agent: Agent = world.system.record(1).await?;
    let version = Stamp::new(agent.version.epoch, agent.version.number + 1);
    agent.version = version;
    let order = Stamp::new(0, 1_000_000 + version.number);
    let digest = Some(digest(body.as_bytes()));
    agent.lanes.insert(lane.clone(), Entry { version, order, task: task.into(), digest, revision: None });
    for (stream, writes) in
        [store(bucket, &key, body.into()), store("agents", &format!("id.{}", world.id), serde_json::to_vec(&agent)?)]
    {
        world.system.bus.publish(&stream, writes).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_leaves_the_old_one_in_force() -> Result<()> {
    let world = World::start("").await?;
    let content = policy(&world.root);
    world.policy(json!({ "operation": "put", "name": "own", "content": content })).await?;
    let lane = Lane::item_of(Lane::SCA, "web/own");
    let bad = content.replace("f:", "x:");
    hand_over(&world, &lane, &bad, "bad").await?;
    let result = eventually("the result", PATIENCE, || async { world.result("bad").await.ok() }).await;
    assert_eq!(result["code"], 1, "{result}");
    let message = result["message"].as_str().unwrap();
    assert!(message.contains("/checks/0/rules/0") && message.contains("check 1: "), "{message}");
    assert_eq!(std::fs::read_to_string(world.file("sca/web/own.yml"))?, content);
    eventually("what the agent says is in force", PATIENCE, || async {
        let shown = world.system.ask("agent.get", &json!({ "agent": world.id })).await.map_err(|e| e.to_string())?;
        let said = &shown["reported"]["digests"]["sca=web=2fown"];
        if *said == digest(content.as_bytes()) { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;

    // A manifest with one bad policy: nothing of it is in force.
    let manifest = json!({ "version": "1", "policies": { "bad": digest(bad.as_bytes()) } }).to_string();
    store_policy(&world, "bad", &bad).await?;
    hand_over(&world, &Lane::of(Lane::SCA_CONTENT), &manifest, "bad-content").await?;
    let result = eventually("the result", PATIENCE, || async { world.result("bad-content").await.ok() }).await;
    let message = result["message"].as_str().unwrap();
    assert!(message.starts_with("policy bad: ") && message.contains("check 1: "), "{message}");
    assert!(!world.file("sca/bad.yml").exists());
    Ok(())
}

async fn store_policy(world: &World, name: &str, body: &str) -> Result<()> {
    let (bucket, key) = Lane::item_of(Lane::SCA, name).body_at(&digest(body.as_bytes())).context("bodies")?;
    let write = Write::new(kv::subject(bucket, &key), body.as_bytes().to_vec());
    Ok(world.system.bus.publish(&kv::stream(bucket), vec![write]).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_is_taken_whole_and_its_commands_run_where_the_machine_allows_it() -> Result<()> {
    let world = World::start("sca:\n  remote_commands: true\n").await?;
    let looked_at = world.root.join("looked-at");
    std::fs::write(&looked_at, "answer yes\n")?;
    let (one, two) = (policy(&looked_at), policy(&looked_at).replace("id: own", "id: other"));
    let content = |version: &str, policies: Value| {
        let manifest = json!({ "version": version, "policies": policies }).to_string();
        let digest = digest(manifest.as_bytes());
        (manifest, json!({ "target": { "type": "all" }, "args": { "version": version, "digest": digest } }))
    };
    let (manifest, task) = content("5.1-1", json!({ "one": digest(one.as_bytes()), "two.x": digest(two.as_bytes()) }));
    let stored = digest(manifest.as_bytes());
    let missing = world.system.done("sca-content", &task).await?;
    assert_eq!(codes(&missing), [("unknown-content", "/args/digest")]);
    let write = Write::new(kv::subject("sca", &format!("content.{stored}")), manifest.clone().into_bytes());
    world.system.bus.publish("KV_sca", vec![write]).await?;
    store_policy(&world, "one", &one).await?;
    let missing = world.system.done("sca-content", &task).await?;
    assert_eq!(codes(&missing), [("unknown-content", "/args/digest/policies/two.x")]);
    store_policy(&world, "two.x", &two).await?;

    let ended = world.system.done("sca-content", &task).await?;
    assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 1), "{ended:?}");
    let evidence = world.result(&ended.id).await?["data"].take();
    assert_eq!(evidence, json!({ "version": "5.1-1", "policies": 2, "checks": 8, "digest": stored, "enabled": true }));
    let files = [world.file("sca/one.yml"), world.file("sca/two=2ex.yml")];
    assert!(files.iter().all(|file| file.exists()));
    let found = world.found("the findings", |found| found.as_array().is_some_and(|found| found.len() == 2)).await;
    assert_eq!((totals(&found, 0), totals(&found, 1), &found[0]["group"]), ((2, 1, 1), (2, 1, 1), &Value::Null));
    let again = world.system.done("sca-content", &task).await?;
    assert_eq!(again.counts.skipped, 1);

    // Beside a group's policy, and gone and back with it.
    world.policy(json!({ "operation": "put", "name": "one", "content": one })).await?;
    world.found("the findings", |found| found.as_array().is_some_and(|found| found.len() == 3)).await;
    world.configure("sca:\n  enabled: false\n").await?;
    assert!(!world.file("sca").exists() && !world.holds(&manifest) && !world.holds(&two));
    world.configure("sca:\n  enabled: true\n").await?;
    world.found("the findings", |found| found.as_array().is_some_and(|found| found.len() == 3)).await;
    assert!(files.iter().all(|file| file.exists()));

    // A newer content replaces the older one.
    let (manifest, task) = content("5.1-2", json!({ "two.x": digest(two.as_bytes()) }));
    let write =
        Write::new(kv::subject("sca", &format!("content.{}", digest(manifest.as_bytes()))), manifest.into_bytes());
    world.system.bus.publish("KV_sca", vec![write]).await?;
    assert_eq!(world.system.done("sca-content", &task).await?.counts.success, 1);
    assert!(!files[0].exists() && files[1].exists() && world.file("sca/web/one.yml").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_while_nobody_listens_is_reported_afterwards() -> Result<()> {
    let mut world = World::start("").await?;
    let looked_at = world.root.join("looked-at");
    std::fs::write(&looked_at, "answer yes\n")?;
    world.configure("sca:\n  interval: 20s\n  scan_on_start: false\n").await?;
    world.policy(json!({ "operation": "put", "name": "own", "content": policy(&looked_at) })).await?;
    world.found("the findings", |found| totals(found, 0) == (1, 1, 2)).await;

    // Without a gateway the machine changes; the next scan finds it, and the agent is killed before it could say so.
    world.system.kill("comms-api")?;
    std::fs::write(&looked_at, "answer no\n")?;
    let spool = world.root.join("spool/sca.json");
    let kept = || -> Option<Value> { serde_json::from_slice(&std::fs::read(&spool).ok()?).ok() };
    eventually("the next scan", PATIENCE, || async {
        let kept = kept()?;
        let report = &kept["results"]["sca=web=2fown"]["report"];
        (report["totals"]["passed"] == 2 && kept["reported"] == false).then_some(())
    })
    .await;
    world.agent.kill()?;
    std::fs::remove_file(&looked_at)?;
    world.system.run("comms-api", &[])?;
    let fleet = world.system.server.agents("fleet").await?;
    let asks = || async { ask_as(&fleet, &world.id, &format!("agent.{}.config.web", world.id), "").await.ok() };
    eventually("the gateway", PATIENCE, asks).await;
    world.agent = world.system.agent(&world.root, "web-1")?;
    world.found("what was found before", |found| totals(found, 0) == (2, 0, 2)).await;
    world.found("what is there now", |found| totals(found, 0) == (0, 1, 3)).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_killed_at_each_write_ends_with_the_policy_in_force() -> Result<()> {
    let mut world = World::start("").await?;
    let _fleet = world.system.fleet(20).await?;
    let join = json!({ "target": { "type": "query", "id": "name ~ v-*" }, "args": { "operation": "assign", "groups": ["web"] } });
    assert_eq!(world.system.done("group-assignment", &join).await?.counts.success, 20);
    let mut round = 0;
    for prefix in ["$KV.sca.", "$KV.agents.plan.", "$KV.agents.page.", "commands.", "facts."] {
        for when in ["kill-before", "kill-after"] {
            round += 1;
            let content = policy(Path::new(&format!("/round-{round}")));
            let put = of_web(json!({ "operation": "put", "name": "own", "content": content }));
            let ended = world.system.killed("sca-policy", &format!("{when}:{prefix}"), &put).await?;
            assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 21), "{when}:{prefix}: {ended:?}");
            assert_eq!(std::fs::read_to_string(world.file("sca/web/own.yml"))?, content, "{when}:{prefix}");
            let group: Group = world.system.read("agents", "gmeta.web").await?.context("the group")?;
            assert_eq!(group.contents[&Lane::item_of(Lane::SCA, "own")].revision, round, "{when}:{prefix}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_policies_load_and_run() -> Result<()> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/sca");
    let names = ["cis_debian12", "sca_unix_audit"];
    let texts: Vec<_> =
        names.iter().filter_map(|name| std::fs::read_to_string(data.join(format!("{name}.yml"))).ok()).collect();
    if texts.len() < names.len() {
        eprintln!("left out: the real policies are not beside this repository");
        return Ok(());
    }
    let world = World::start("").await?;
    for (name, text) in names.iter().zip(&texts) {
        world.policy(json!({ "operation": "put", "name": name, "content": text })).await?;
    }
    let found = world.found("the findings", |found| found.as_array().is_some_and(|found| found.len() == 2)).await;
    for (found, checks) in found.as_array().unwrap().iter().zip([181, 23]) {
        let totals = found["report"]["totals"].as_object().unwrap();
        assert_eq!(totals.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), checks, "{found}");
        assert_eq!(found["report"]["checks"].as_array().unwrap().len() as u64, checks, "all of them fit");
    }
    Ok(())
}
