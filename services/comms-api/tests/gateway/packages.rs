//! Packages for agents, and what they say of their version. The server node is the test.

use crate::support::{World, nkey};
use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use futures::StreamExt as _;
use muster_broker::Broker as _;
use muster_core::lane::Lane;
use muster_core::message::Confirmed;
use muster_core::names::digest;
use muster_core::package::{Chunk, ERROR_CODE, MAX_CHUNK, Package, Upgrade};
use muster_core::record::{Agent, Entry};
use muster_core::stamp::Stamp;
use serde_json::{Value, json};

const BYTES: &[u8] = b"{\"errors\":[]} is what these bytes begin with, and yet they are no refusal";

/// Makes the record of an agent name a package with this version; gives the package's digest.
async fn wanted(world: &World, id: &str, version: &str) -> Result<String> {
    let package = Package {
        name: "agent".into(),
        version: version.into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        size: BYTES.len() as u64,
        sha256: digest(BYTES),
        signature: "s".into(),
    };
    let body = serde_json::to_string(&Upgrade { package, force: false })?;
    let (lane, sum) = (Lane::of(Lane::VERSION), digest(body.as_bytes()));
    world.put("packages", &format!("upgrade.{sum}"), body).await?;
    let mut agent = world.record(id).await?;
    let stamp = Stamp::new(0, agent.version.number + 1);
    let entry =
        Entry { version: stamp, order: Stamp::new(0, 9), task: "t0-9".into(), digest: Some(sum), revision: None };
    agent.lanes.insert(lane, entry);
    world.put("agents", &format!("id.{id}"), serde_json::to_vec(&Agent { version: stamp, ..agent })?).await?;
    Ok(digest(BYTES))
}

fn chunk(sha256: &str, offset: u64, length: u64) -> String {
    json!(Chunk { sha256: sha256.into(), offset, length }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_reaches_those_whose_record_names_it() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let (one, two) = (world.enrol(&nkey(1), "web-1").await?.id, world.enrol(&nkey(2), "web-2").await?.id);
    let sha256 = digest(BYTES);
    let subject = format!("agent.{one}.package");
    assert_eq!(world.refusal(&subject, chunk(&sha256, 0, 100)).await?, "not-yours");
    wanted(&world, &one, "5.1.0").await?;
    // No node holds it.
    assert_eq!(world.refusal(&subject, chunk(&sha256, 0, 100)).await?, "unavailable");

    let node = world.bus.client().clone();
    let mut questions = node.subscribe(format!("node.package.{sha256}")).await?;
    // A flush does not wait for the server; any request does.
    let _ = node.request("node.nobody", "".into()).await;
    let serving = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let asked: Chunk = serde_json::from_slice(&question.payload).unwrap();
            let from = usize::try_from(asked.offset).unwrap();
            let reply = question.reply.unwrap();
            let _ = match asked.offset {
                // A node that gives more than was asked for, and one that refuses.
                1 => node.publish(reply, BYTES.into()).await,
                2 => {
                    let mut headers = HeaderMap::new();
                    headers.insert(ERROR_CODE, "400");
                    node.publish_with_headers(reply, headers, "".into()).await
                }
                _ => {
                    let to = (from + usize::try_from(asked.length).unwrap()).min(BYTES.len());
                    node.publish(reply, BYTES[from.min(to)..to].to_vec().into()).await
                }
            };
        }
    });
    let mut got = Vec::new();
    while got.len() < BYTES.len() {
        got.extend_from_slice(&world.ask(&subject, chunk(&sha256, got.len() as u64, 30)).await?);
    }
    assert_eq!(got, BYTES);
    assert!(world.ask(&subject, chunk(&sha256, 5000, 10)).await?.is_empty());
    for offset in [1, 2] {
        assert_eq!(world.refusal(&subject, chunk(&sha256, offset, 10)).await?, "unavailable");
    }

    // Bounded, checked, and for nobody else.
    for bad in [chunk(&sha256, 0, 0), chunk(&sha256, 0, MAX_CHUNK + 1), chunk("*", 0, 1), "{}".into()] {
        assert_eq!(world.refusal(&subject, bad.clone()).await?, "schema", "{bad}");
    }
    assert_eq!(world.refusal(&subject, chunk(&digest(b"other"), 0, 1)).await?, "not-yours");
    assert_eq!(world.refusal(&format!("agent.{two}.package"), chunk(&sha256, 0, 1)).await?, "not-yours");

    // The header tells what is a refusal.
    let request = |question: String| {
        let inbox = format!("_INBOX.{one}.{}", nuid::next());
        let request = async_nats::Request::new().payload(question.into()).inbox(inbox);
        world.agents.send_request(subject.clone(), request)
    };
    let refused = request(chunk(&sha256, 0, 0)).await?;
    assert_eq!(refused.headers.context("headers")?.get(ERROR_CODE).map(ToString::to_string), Some("400".into()));
    assert!(request(chunk(&sha256, 0, 13)).await?.headers.is_none());
    serving.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_counts_only_when_the_last_hello_has_named_it() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let id = world.enrol(&nkey(1), "web-1").await?.id;
    let hello = async |version: &str| {
        let hello = json!({ "ledger": "l", "version": version, "os": "linux" });
        world.ask(&format!("agent.{id}.hello"), hello.to_string()).await
    };
    wanted(&world, &id, "5.1.0").await?;
    let version = world.record(&id).await?.lanes[&Lane::of(Lane::VERSION)].version.to_string();
    let report = async |status: &str, version: &str, data: Value| {
        let result = json!({ "request_id": "t0-9", "status": status, "lane": "version", "version": version,
            "result": { "data": data } });
        let other = json!({ "request_id": "t0-8", "status": "success", "lane": "name", "version": "0-1" });
        let report = json!({ "ledger": "l", "results": [other, result] }).to_string();
        let answer = world.ask(&format!("agent.{id}.result"), report).await?;
        anyhow::Ok(serde_json::from_slice::<Confirmed>(&answer)?.confirmed)
    };
    let evidence = json!({ "version": "5.1.0" });
    hello("5.0.0").await?;
    // The old program says that it is the new one: the rest of its report is stored.
    assert_eq!(report("success", &version, evidence.clone()).await?, ["t0-8"]);
    assert_eq!(world.bus.get("RESULTS", "results.t0-9.001").await?, None);
    // A start and a failure are no claims.
    assert_eq!(report("in_progress", &version, Value::Null).await?, ["t0-8", "t0-9"]);
    assert_eq!(report("failure", &version, Value::Null).await?, ["t0-8", "t0-9"]);
    hello("v5.1").await?;
    assert_eq!(report("success", &version, evidence.clone()).await?, ["t0-8", "t0-9"]);
    assert_eq!(world.stored("RESULTS", "results.t0-9.001").await?["status"], "success");
    // The lane has moved on: what the result itself says is compared.
    wanted(&world, &id, "5.2.0").await?;
    assert_eq!(report("success", &version, evidence).await?, ["t0-8", "t0-9"]);
    assert_eq!(report("success", &version, json!({ "version": "5.2.0" })).await?, ["t0-8"]);
    assert_eq!(report("success", &version, Value::Null).await?, ["t0-8"]);
    Ok(())
}
