//! Server nodes: what all of them run with, also one that was down.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::Cursor;

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use muster_core::names::digest;
use muster_core::status::State;
use muster_testkit::{PATIENCE, Signal, eventually};
use muster_tests::{System, codes};
use serde_json::{Value, json};

/// Starts a node with this name; its directory is below `home`.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_reaches_every_node_and_one_that_was_down_catches_up() -> Result<()> {
    let mut system = System::start().await?;
    let home = tempfile::tempdir()?;
    system.node("node-1", &home.path().join("node-1"), "")?;
    system.node("node-2", &home.path().join("node-2"), "")?;
    system.nodes(2).await;
    let change = |content: &str| json!({ "args": { "content": content } });
    let first = system.done("server-configuration", &change("log:\n  level: warn\n")).await?;
    assert_eq!((first.state, first.counts.success), (State::Succeeded, 2), "{first:?}");
    let again = system.done("server-configuration", &change("log:\n  level: warn\n")).await?;
    assert_eq!((again.state, again.counts.skipped), (State::Succeeded, 2));

    // Two revisions while a node is down: it takes the newest when it is back, and its log follows without a restart.
    let mut second = system.copies("server").pop().expect("node-2");
    second.signal(Signal::TERM)?;
    second.wait_exit(PATIENCE).await?;
    let older = system.publish("server-configuration", &change("log:\n  level: info\n")).await?;
    system.summary(&older, "the first node's success", |s| s.counts.success == 1).await;
    let newer =
        system.publish("server-configuration", &change("log:\n  level: debug\nsync:\n  interval: 5s\n")).await?;
    system.summary(&newer, "the first node's success", |s| s.counts.success == 1).await;
    eventually("the log's level", PATIENCE, || async { system_log(&system, 0).contains("DEBUG").then_some(()) }).await;
    system.node("node-2", &home.path().join("node-2"), "")?;
    let (older, newer) = (system.ended(&older).await, system.ended(&newer).await);
    assert_eq!((older.counts.success, older.counts.superseded), (1, 1), "{older:?}");
    assert_eq!((newer.state, newer.counts.success), (State::Succeeded, 2), "{newer:?}");
    for id in ["001", "002"] {
        let shown = system.ask("node.get", &json!({ "node": id })).await?;
        let wanted = &shown["desired"]["lanes"]["server-configuration"]["digest"];
        assert_eq!(&shown["reported"]["digests"]["server-configuration"], wanted, "{shown}");
    }
    system.nodes(2).await;

    let bad = system.done("server-configuration", &change("log:\n  level: loud\n")).await?;
    assert_eq!((bad.state, codes(&bad)), (State::Rejected, vec![("schema", "/args/content/log/level")]));
    let agents = json!({ "target": { "type": "agent", "id": "001" }, "args": { "content": "" } });
    assert_eq!(system.done("server-configuration", &agents).await?.state, State::Rejected);
    Ok(())
}

fn system_log(system: &System, copy: usize) -> String {
    system.log("server", copy)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_fetches_a_package_and_serves_it() -> Result<()> {
    let mut system = System::start().await?;
    system.run("agent-package", &[])?;
    let home = tempfile::tempdir()?;
    let pair = minisign::KeyPair::generate_unencrypted_keypair()?;
    let key = pair.pk.to_base64();
    system.node("node-1", &home.path().join("node-1"), &key)?;
    system.node("node-2", &home.path().join("node-2"), &key)?;
    system.nodes(2).await;
    let bytes: Vec<u8> = (0..1_500_000u32).map(|n| (n % 251) as u8).collect();
    let store = jetstream::new(system.client.clone()).get_object_store("packages").await?;
    let name = "muster-agent-9.9.9-linux-x86_64";
    store.put(name, &mut bytes.as_slice()).await?;
    let sign = |bytes: &[u8]| minisign::sign(None, &pair.sk, Cursor::new(bytes), None, None).unwrap().to_string();
    let package = |sha256: String, signature: String| {
        json!({ "args": { "package": { "name": name, "version": "9.9.9", "os": "linux", "arch": "x86_64",
            "size": bytes.len(), "sha256": sha256, "signature": signature } } })
    };
    let sha256 = digest(&bytes);

    // What is not what it says is on no disk.
    let wrong = system.done("agent-package", &package(digest(b"other"), sign(&bytes))).await?;
    assert_eq!((wrong.state, wrong.counts.failure), (State::Failed, 2), "{wrong:?}");
    let forged = system.done("agent-package", &package(sha256.clone(), sign(b"other"))).await?;
    assert_eq!((forged.state, forged.counts.failure), (State::Failed, 2), "{forged:?}");
    let file = |node: &str| home.path().join(node).join("packages").join(&sha256);
    assert!(!file("node-1").exists() && !file("node-2").exists());

    // The second node is killed while it fetches, and comes back.
    let mut second = system.copies("server").pop().expect("node-2");
    let task = system.publish("agent-package", &package(sha256.clone(), sign(&bytes))).await?;
    second.kill()?;
    system.node("node-2", &home.path().join("node-2"), &key)?;
    let ended = system.ended(&task).await;
    assert_eq!((ended.state, ended.counts.success), (State::Succeeded, 2), "{ended:?}");
    assert_eq!(std::fs::read(file("node-1"))?, bytes);
    assert_eq!(std::fs::read(file("node-2"))?, bytes);

    // Any node that holds it serves it, part by part.
    let (mut offset, mut served) = (0, Vec::new());
    loop {
        let question = json!({ "sha256": sha256, "offset": offset, "length": 400_000 }).to_string();
        let part = system.client.request(format!("node.package.{sha256}"), question.into()).await?.payload;
        if part.is_empty() {
            break;
        }
        offset += part.len();
        served.extend_from_slice(&part);
    }
    assert_eq!(served, bytes);
    let removed = system.done("agent-package", &json!({ "args": { "remove": name } })).await?;
    assert_eq!(removed.counts.success, 2, "{removed:?}");
    assert!(!file("node-1").exists() && !file("node-2").exists());
    let unknown = system.done("agent-package", &json!({ "args": { "remove": name } })).await?;
    assert_eq!(codes(&unknown), [("unknown-package", "/args/remove")]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_is_denied_on_every_node_afterwards() -> Result<()> {
    let mut system = System::start().await?;
    let home = tempfile::tempdir()?;
    system.node("node-1", &home.path().join("node-1"), "")?;
    system.node("node-2", &home.path().join("node-2"), "")?;
    system.nodes(2).await;
    let store = jetstream::new(system.client.clone()).get_key_value("rbac").await?;
    let policy =
        |effect: &str| json!({ "actions": ["group:update_config"], "resources": ["group:id:*"], "effect": effect });
    store.put("policy.groups", policy("allow").to_string().into()).await?;
    store.put("role.admin", json!({ "policies": ["groups"] }).to_string().into()).await?;
    store.put("user.ada", json!({ "roles": ["admin"] }).to_string().into()).await?;
    let refresh = json!({ "args": {} });
    let told = system.done("rbac-change", &refresh).await?;
    assert_eq!((told.state, told.counts.success), (State::Succeeded, 2), "{told:?}");
    assert!(ask(&system, Some("ada")).await?["id"].is_string());
    for stranger in [Some("eve"), None] {
        let refused = ask(&system, stranger).await?;
        assert_eq!(refused["errors"][0]["code"], "forbidden", "{refused}");
    }

    // Denied while a node is down: it denies too when it is back.
    let mut second = system.copies("server").pop().expect("node-2");
    second.signal(Signal::TERM)?;
    second.wait_exit(PATIENCE).await?;
    store.put("policy.groups", policy("deny").to_string().into()).await?;
    let denied = system.publish("rbac-change", &refresh).await?;
    system.summary(&denied, "the first node's success", |s| s.counts.success == 1).await;
    system.node("node-2", &home.path().join("node-2"), "")?;
    let denied = system.ended(&denied).await;
    assert_eq!((denied.state, denied.counts.success), (State::Succeeded, 2), "{denied:?}");
    let question = json!({ "user": "ada", "type": "group-configuration", "target": { "type": "group", "id": "web" } });
    for node in ["001", "002"] {
        let verdict = system.ask(&format!("node.rbac.check.{node}"), &question).await?;
        assert_eq!(verdict["allowed"], false, "{node}: {verdict}");
    }
    let refused = ask(&system, Some("ada")).await?;
    assert_eq!(refused["errors"][0]["code"], "forbidden", "{refused}");
    // Bad documents are refused as a whole, and what was in force stays.
    store.put("user.bob", json!({ "roles": ["none"] }).to_string().into()).await?;
    let bad = system.done("rbac-change", &refresh).await?;
    assert_eq!((bad.state, codes(&bad)), (State::Rejected, vec![("rbac", "/user.bob")]));
    // Without any node nobody is let in where users are set up.
    system.kill("server")?;
    let refused = ask(&system, Some("ada")).await?;
    assert_eq!(refused["errors"][0]["code"], "rbac-unavailable", "{refused}");
    Ok(())
}

/// Asks for a task as this user.
async fn ask(system: &System, user: Option<&str>) -> Result<Value> {
    let mut task = json!({ "target": { "type": "group", "id": "web" }, "args": { "content": "", "create": true } });
    if let Some(user) = user {
        task["user"] = json!(user);
    }
    system.ask("task.submit.group-configuration", &task).await
}

const RULE: &str = "title: Failed log-in\nid: 0b1a9ccb-2c5d-4f0d-9f0a-4d9f2c6c1a01\nlogsource:\n  product: linux\n\
    detection:\n  selection:\n    event.outcome: failure\n  condition: selection\nlevel: medium\n";

/// How many rules of a node an event matches.
async fn matched(system: &System, node: &str) -> Result<u64> {
    let event = json!({ "event": { "outcome": "failure" } });
    let verdict = system.ask(&format!("node.event.test.{node}"), &event).await?;
    Ok(verdict["matches"].as_array().with_context(|| verdict.to_string())?.len() as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ruleset_is_in_force_on_every_node_or_the_old_one_stays() -> Result<()> {
    let mut system = System::start().await?;
    system.run("ruleset-update", &[])?;
    let home = tempfile::tempdir()?;
    system.node("node-1", &home.path().join("node-1"), "")?;
    system.node("node-2", &home.path().join("node-2"), "")?;
    system.nodes(2).await;
    assert_eq!(matched(&system, "001").await?, 0);
    let files = |files: Value| json!({ "args": { "files": files } });
    let first = system.done("ruleset-update", &files(json!({ "login.yml": RULE }))).await?;
    assert_eq!((first.state, first.counts.success), (State::Succeeded, 2), "{first:?}");
    assert_eq!((matched(&system, "001").await?, matched(&system, "002").await?), (1, 1));
    let again = system.done("ruleset-update", &files(json!({ "login.yml": RULE }))).await?;
    assert_eq!(again.counts.skipped, 2, "{again:?}");

    // One bad rule of two: its file is named, and the old set stays in force.
    let bad = files(json!({ "good.yml": RULE, "bad.yml": "title: without detection\n" }));
    let bad = system.done("ruleset-update", &bad).await?;
    assert_eq!((bad.state, bad.errors[0].pointer.as_str()), (State::Rejected, "/args/files/bad.yml"), "{bad:?}");
    assert_eq!(matched(&system, "002").await?, 1);

    // A node that was down takes the set of now, and one that starts again has it from its own disk.
    let mut second = system.copies("server").pop().expect("node-2");
    second.signal(Signal::TERM)?;
    second.wait_exit(PATIENCE).await?;
    let other = RULE.replace("failure", "success").replace("1a01", "1a02");
    let both = system.publish("ruleset-update", &files(json!({ "login.yml": RULE, "other.yml": other }))).await?;
    system.summary(&both, "the first node's success", |s| s.counts.success == 1).await;
    system.node("node-2", &home.path().join("node-2"), "")?;
    assert_eq!(system.ended(&both).await.counts.success, 2);
    assert_eq!(matched(&system, "002").await?, 1);
    let unknown = json!({ "args": { "digest": digest(b"none") } });
    let unknown = system.done("ruleset-update", &unknown).await?;
    assert_eq!(codes(&unknown), [("unknown-content", "/args/digest")]);
    Ok(())
}
