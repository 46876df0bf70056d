//! Each type's function is killed at its writes: after the plan, after the commands, before it tells. The task ends as if
//! nothing had happened, and each recipient has one result. `kills.rs` has the two types of groups in more detail.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use anyhow::Result;
use async_nats::jetstream;
use muster_core::names::digest;
use muster_core::record::agent_id;
use muster_core::status::State;
use muster_tests::System;
use serde_json::{Value, json};

const AGENTS: u32 = 40;
const POINTS: [&str; 4] =
    ["kill-before:$KV.BUCKET.plan.", "kill-after:$KV.BUCKET.plan.", "kill-after:commands.", "kill-before:facts."];

/// What a type's task comes to: so many successes and failures.
struct Expected {
    success: u64,
    failure: u64,
}

const fn all_succeed(success: u64) -> Expected {
    Expected { success, failure: 0 }
}

/// Runs a task for each point with a copy that is killed there; another copy goes on.
async fn killed(
    system: &mut System,
    kind: &str,
    bucket: &str,
    expected: Expected,
    task: impl AsyncFn(&System, usize) -> Result<Value>,
) -> Result<()> {
    for (n, point) in POINTS.iter().enumerate() {
        let point = point.replace("BUCKET", bucket);
        println!("{kind}: {point}");
        let mut task = task(system, n).await?;
        let id = format!("{kind}-{n}");
        task["id"] = json!(id);
        let ended = system.killed(kind, &point, &task).await?;
        let counts = (ended.counts.success, ended.counts.failure, ended.recipients);
        let Expected { success, failure } = expected;
        assert_eq!(counts, (success, failure, Some(success + failure)), "{kind}: {point}: {ended:?}");
        assert_eq!(ended.state, if failure == 0 { State::Succeeded } else { State::Failed }, "{kind}: {point}");
    }
    system.kill(kind)
}

fn of_web(args: Value) -> Value {
    json!({ "target": { "type": "group", "id": "web" }, "args": args })
}

#[tokio::test(flavor = "multi_thread")]
async fn types_for_agents_survive_a_crash_at_their_writes() -> Result<()> {
    let mut system = System::start().await?;
    let _fleet = system.fleet(AGENTS).await?;
    system.make_group("web", "").await?;
    let join = json!({ "target": { "type": "query", "id": "id < 0021" }, "args": { "operation": "assign", "groups": ["web"] } });
    let join = system.publish("group-assignment", &join).await?;
    let members = system.ended(&join).await.counts.success;
    assert!(members > 0);

    let response = |n: usize| {
        format!(
            "name: note\nexecutable: note\ntype: stateless\nlocation: group\ngroup: web\nextra_arguments: ['{n}']\n"
        )
    };
    killed(&mut system, "active-response-configuration", "agents", all_succeed(members), async |_, n| {
        Ok(of_web(json!({ "operation": "put", "name": "note", "content": response(n) })))
    })
    .await?;
    killed(&mut system, "active-response-execution", "agents", all_succeed(members), async |_, _| {
        Ok(json!({ "args": { "name": "note" } }))
    })
    .await?;
    let policy = |n: usize| {
        format!(
            "policy: {{id: p, name: P}}\nchecks:\n  - {{id: {}, title: T, condition: all, rules: ['f:/etc']}}\n",
            n + 1
        )
    };
    killed(&mut system, "sca-policy", "agents", all_succeed(members), async |_, n| {
        Ok(of_web(json!({ "operation": "put", "name": "cis", "content": policy(n) })))
    })
    .await?;
    killed(&mut system, "sca-content", "agents", all_succeed(u64::from(AGENTS)), async |system, n| {
        let (policy, bodies) = (policy(n), jetstream::new(system.client.clone()).get_key_value("sca").await?);
        let manifest = json!({ "version": "1", "policies": { "cis": digest(policy.as_bytes()) } }).to_string();
        let manifest_digest = digest(manifest.as_bytes());
        bodies.put(format!("cis.{}", digest(policy.as_bytes())), policy.into()).await?;
        bodies.put(format!("content.{manifest_digest}"), manifest.into()).await?;
        Ok(json!({ "target": { "type": "all" }, "args": { "version": "1", "digest": manifest_digest } }))
    })
    .await?;
    // Virtual agents have no program that could be replaced: each refuses, once for each task.
    system.run("agent-package", &[])?;
    let package = json!({ "name": "next", "version": "9.9.9", "os": "linux", "arch": std::env::consts::ARCH,
        "size": 1, "sha256": "4".repeat(64), "signature": "untrusted comment: x\nRUQ\n" });
    let known = system.publish("agent-package", &json!({ "args": { "package": package } })).await?;
    assert_eq!(system.ended(&known).await.recipients, Some(0), "there is no node that could fetch it");
    let none = Expected { success: 0, failure: u64::from(AGENTS) };
    killed(&mut system, "agent-upgrade", "agents", none, async |_, _| {
        Ok(json!({ "target": { "type": "all" }, "args": { "version": "9.9.9" } }))
    })
    .await?;
    killed(&mut system, "agent-name", "agents", all_succeed(1), async |_, n| {
        Ok(json!({ "target": { "type": "agent", "id": "001" }, "args": { "name": format!("name-{n}") } }))
    })
    .await?;
    assert_eq!(system.read::<String>("agents", "name.name-3").await?, Some("001".into()));
    assert_eq!(system.read::<String>("agents", "name.name-2").await?, None, "an old name is free");
    killed(&mut system, "agent-deletion", "agents", all_succeed(2), async |_, n| {
        let ids: Vec<String> = (0..2).map(|k| agent_id(AGENTS - 2 * u32::try_from(n).unwrap() - k)).collect();
        Ok(json!({ "target": { "type": "agent", "id": ids }, "args": {} }))
    })
    .await?;
    let gone = system.records().await?.into_iter().filter(|agent| agent.gone).count();
    assert_eq!(gone, 2 * POINTS.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn types_for_server_nodes_survive_a_crash_at_their_writes() -> Result<()> {
    let mut system = System::start().await?;
    let home = tempfile::tempdir()?;
    system.node("node-1", home.path(), "")?;
    system.nodes(1).await;
    killed(&mut system, "server-configuration", "nodes", all_succeed(1), async |_, n| {
        Ok(json!({ "args": { "content": format!("packages:\n  chunk_size: {}KB\n", 64 + n) } }))
    })
    .await?;
    killed(&mut system, "rbac-change", "nodes", all_succeed(1), async |system, n| {
        let roles = jetstream::new(system.client.clone()).get_key_value("rbac").await?;
        let policy =
            json!({ "actions": ["agent:delete"], "resources": [format!("agent:id:{n:03}")], "effect": "allow" });
        roles.put("policy.some", policy.to_string().into()).await?;
        Ok(json!({ "args": {} }))
    })
    .await?;
    killed(&mut system, "ruleset-update", "nodes", all_succeed(1), async |_, n| {
        let rule = format!(
            "title: Failed log-in\nid: 0b1a9ccb-2c5d-4f0d-9f0a-4d9f2c6c1a0{n}\nlogsource:\n  product: linux\n\
             detection:\n  selection:\n    event.outcome: failure\n  condition: selection\nlevel: medium\n"
        );
        Ok(json!({ "args": { "files": { "login.yml": rule } } }))
    })
    .await?;
    // The node knows no key to check packages with, and says so: a failure is told as exactly as a success.
    killed(&mut system, "agent-package", "nodes", Expected { success: 0, failure: 1 }, async |_, n| {
        let package = json!({ "name": format!("p{n}"), "version": format!("9.9.{n}"), "os": "linux", "arch": "x86_64",
            "size": 1, "sha256": "4".repeat(64), "signature": "untrusted comment: x\nRUQ\n" });
        Ok(json!({ "args": { "package": package } }))
    })
    .await
}
