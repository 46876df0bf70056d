//! The vulnerability feed on server nodes, and scans of agents' packages.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use async_nats::{HeaderMap, jetstream};
use muster_core::names::digest;
use muster_core::status::State;
use muster_core::summary::Summary;
use muster_testkit::{PATIENCE, Process, Signal, eventually};
use muster_tests::{System, codes};
use muster_vulnerabilities::{Database, Format, Inventory, Os, Package};
use serde_json::{Value, json};

/// A server, nodes that are started later, and the two functions.
struct World {
    system: System,
    home: tempfile::TempDir,
}

impl World {
    async fn start() -> Result<Self> {
        let mut system = System::start().await?;
        for function in ["cve-content", "vulnerability-rescan"] {
            system.run(function, &[])?;
        }
        Ok(Self { system, home: tempfile::tempdir()? })
    }

    fn directory(&self, node: &str) -> PathBuf {
        self.home.path().join(node)
    }

    async fn node(&mut self, name: &str, count: u64) -> Result<()> {
        let directory = self.directory(name);
        self.system.node(name, &directory, "")?;
        self.system.nodes(count).await;
        Ok(())
    }

    /// Ends the node that was started last, and waits for its end.
    async fn stop(&mut self) -> Result<()> {
        let mut node = self.system.copies("server").pop().expect("a node");
        node.signal(Signal::TERM)?;
        node.wait_exit(PATIENCE).await.map(drop)
    }

    /// Stores an object, and says what a task says of it.
    async fn store(&self, name: &str, bytes: &[u8], offset: u64) -> Result<Value> {
        let store = jetstream::new(self.system.client.clone()).get_object_store("content").await?;
        store.put(name, &mut Cursor::new(bytes)).await?;
        Ok(json!({ "object": name, "size": bytes.len(), "sha256": digest(bytes), "offset": offset }))
    }

    async fn snapshot(&self, offset: u64, records: &[(&str, Value)]) -> Result<Value> {
        let line = |(name, payload): &(&str, Value)| line(name, offset, payload);
        let lines: String = records.iter().map(line).collect();
        self.store(&format!("cve-snapshot-{offset}"), lines.as_bytes(), offset).await
    }

    async fn changes(&self, to: u64, data: Value) -> Result<Value> {
        let body = json!({ "data": data }).to_string();
        self.store(&format!("cve-changes-{to}"), body.as_bytes(), to).await
    }

    async fn feed(&self, args: Value) -> Result<Summary> {
        self.system.done("cve-content", &json!({ "args": args })).await
    }

    /// What a node answers when it is asked for the vulnerabilities of OpenSSL at an offset.
    async fn matched(&self, node: &str, offset: u64) -> Result<Value> {
        let os = Os { distribution: "debian".into(), version: "12".into(), codename: Some("bookworm".into()) };
        let package = |name: &str| Package {
            name: name.into(),
            version: "1.0-1".into(),
            arch: "amd64".into(),
            source: None,
            format: Format::Dpkg,
        };
        let inventory = Inventory { os, packages: vec![package("openssl"), package("bash")] };
        let mut headers = HeaderMap::new();
        headers.insert("Muster-Offset", offset.to_string());
        let subject = format!("node.vulnerabilities.match.{node}");
        let packed = inventory.pack().map_err(|problem| anyhow::anyhow!("{problem}"))?;
        let answer = self.system.client.request_with_headers(subject, headers, packed.into()).await?;
        Ok(serde_json::from_slice(&answer.payload)?)
    }

    /// The CVEs that a node finds at this offset; it must stand there.
    async fn cves(&self, node: &str, offset: u64) -> Result<Vec<String>> {
        let found = self.matched(node, offset).await?;
        assert_eq!(found["offset"], offset, "{found}");
        let findings = found["findings"].as_array().context("findings")?;
        Ok(findings.iter().map(|finding| finding["cve"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// An agent of a machine with these packages, and its id.
    async fn agent(&mut self, name: &str, packages: &[(&str, &str)]) -> Result<(Process, String)> {
        let machine = self.home.path().join(format!("{name}-machine"));
        install(&machine, packages)?;
        let root = machine.to_str().context("a path")?.to_owned();
        self.system.env.push(("MUSTER_INVENTORY_ROOT".into(), root));
        let agent = self.system.agent(&self.home.path().join(name), name)?;
        self.system.env.pop();
        let id = self.system.enrolled(name).await;
        Ok((agent, id))
    }

    /// What `muster agent vulnerabilities` shows.
    fn shown(&self, agent: &str, output: &str) -> Result<String> {
        let mut command = self.system.muster()?;
        let shown = command.args(["agent", "vulnerabilities", agent, "-o", output]).output()?;
        anyhow::ensure!(shown.status.success(), "{shown:?}");
        Ok(String::from_utf8(shown.stdout)?)
    }

    fn findings(&self, agent: &str) -> Result<Value> {
        Ok(serde_json::from_str::<Value>(&self.shown(agent, "json")?)?["findings"].take())
    }
}

fn line(name: &str, offset: u64, payload: &Value) -> String {
    json!({ "name": name, "offset": offset, "version": 1, "inserted_at": "2026-01-01T00:00:00Z", "payload": payload })
        .to_string()
        + "\n"
}

/// A CVE by which Debian's `package` is affected below `fixed`.
fn cve(package: &str, fixed: &str, severity: &str) -> Value {
    json!({ "containers": {
        "cna": { "metrics": [{ "cvssV3_1": { "baseSeverity": severity } }] },
        "adp": [{ "providerMetadata": { "shortName": "debian" }, "affected": [{
            "product": package, "platforms": ["bookworm"], "defaultStatus": "unaffected",
            "versions": [{ "version": "0", "lessThan": fixed, "status": "affected", "versionType": "deb" }],
        }] }],
    } })
}

fn create(offset: u64, name: &str, payload: &Value) -> Value {
    json!({ "type": "create", "context": "vd_1.0.0", "resource": name, "offset": offset, "version": 1, "payload": payload })
}

/// Writes what dpkg and os-release say of a machine.
fn install(machine: &Path, packages: &[(&str, &str)]) -> Result<()> {
    std::fs::create_dir_all(machine.join("etc"))?;
    std::fs::create_dir_all(machine.join("var/lib/dpkg"))?;
    std::fs::write(machine.join("etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n")?;
    let mut status = String::new();
    for (name, version) in packages {
        write!(
            status,
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\nDescription: x\n\n"
        )?;
    }
    Ok(std::fs::write(machine.join("var/lib/dpkg/status"), status)?)
}

const A: &str = "CVE-2024-1001";
const B: &str = "CVE-2024-1002";
const C: &str = "CVE-2024-1003";

#[tokio::test(flavor = "multi_thread")]
async fn nodes_follow_the_feed_from_any_offset() -> Result<()> {
    let mut world = World::start().await?;
    world.node("node-1", 1).await?;
    world.node("node-2", 2).await?;
    // Nothing follows nothing.
    let ten = world.changes(110, json!([create(105, C, &cve("openssl", "3", "LOW"))])).await?;
    let early = world.feed(json!({ "from": 100, "to": 110, "changes": [ten] })).await?;
    assert_eq!(codes(&early), [("missing", "/args/snapshot")]);

    let records =
        [(A, cve("openssl", "2", "HIGH")), ("FEED-GLOBAL", json!({ "version": 1 })), (B, cve("bash", "1", "LOW"))];
    let first = json!({ "from": 0, "to": 100, "snapshot": world.snapshot(100, &records).await? });
    let loaded = world.feed(first.clone()).await?;
    assert_eq!((loaded.state, loaded.counts.success), (State::Succeeded, 2), "{loaded:?}");
    let evidence = world.system.result(&loaded.id, "001").await?["data"].take();
    assert_eq!(evidence, json!({ "offset": 100, "cves": 2, "others": 1, "unreadable": 0 }));
    assert_eq!(world.cves("002", 100).await?, [A]);
    let again = world.feed(first.clone()).await?;
    assert_eq!((again.state, again.counts.skipped), (State::Succeeded, 2), "{again:?}");

    // Changes follow: a record is made, one is patched, one goes.
    let patch = json!([{ "op": "replace", "path": "/containers/adp/0/affected/0/versions/0/lessThan", "value": "5" }]);
    let updated = json!({ "type": "update", "resource": B, "offset": 106, "version": 2, "operations": patch });
    let deleted = json!({ "type": "delete", "resource": A, "offset": 110 });
    let ten = world.changes(110, json!([create(105, C, &cve("openssl", "3", "LOW")), updated, deleted])).await?;
    let next = json!({ "from": 100, "to": 110, "changes": [ten] });
    let changed = world.feed(next.clone()).await?;
    assert_eq!((changed.state, changed.counts.success), (State::Succeeded, 2), "{changed:?}");
    assert_eq!(
        (world.cves("001", 110).await?, world.cves("002", 110).await?),
        (vec![B.into(), C.into()], vec![B.into(), C.into()])
    );
    for known in [&next, &first] {
        assert_eq!(world.feed(known.clone()).await?.counts.skipped, 2);
    }
    let gap = world.feed(json!({ "from": 112, "to": 113, "changes": [world.changes(113, json!([])).await?] })).await?;
    assert_eq!((gap.state, codes(&gap)), (State::Rejected, vec![("gap", "/args/from")]));
    let one = json!({ "target": { "type": "server", "id": "001" }, "args": first });
    assert_eq!(codes(&world.system.done("cve-content", &one).await?), [("schema", "/target")]);

    // A node that was down takes the changes that it has missed, and one that has lost its database the snapshot first.
    world.stop().await?;
    let twenty = world.changes(120, json!([create(115, A, &cve("openssl", "9", "CRITICAL"))])).await?;
    let missed = world
        .system
        .publish("cve-content", &json!({ "args": { "from": 110, "to": 120, "changes": [twenty] } }))
        .await?;
    world.system.summary(&missed, "the first node's success", |s| s.counts.success == 1).await;
    world.node("node-2", 2).await?;
    assert_eq!(world.system.ended(&missed).await.counts.success, 2);
    assert_eq!(world.cves("002", 120).await?, [A, B, C]);
    world.stop().await?;
    std::fs::remove_file(world.directory("node-2").join("vulnerabilities/vulnerabilities.redb"))?;
    world.node("node-2", 2).await?;
    eventually("the database of node-2", PATIENCE, || async {
        world.matched("002", 120).await.ok().filter(|found| found["offset"] == 120).map(drop)
    })
    .await;
    assert_eq!(world.cves("002", 120).await?, [A, B, C]);
    // A gap leads over the snapshot.
    world.stop().await?;
    let anew = world.snapshot(200, &[(C, cve("openssl", "9", "LOW"))]).await?;
    let after = world.changes(210, json!([create(210, B, &cve("bash", "9", "LOW"))])).await?;
    let gap = json!({ "args": { "from": 200, "to": 210, "snapshot": anew, "changes": [after] } });
    let gap = world.system.publish("cve-content", &gap).await?;
    world.system.summary(&gap, "the first node's success", |s| s.counts.success == 1).await;
    world.node("node-2", 2).await?;
    assert_eq!(world.system.ended(&gap).await.counts.success, 2);
    assert_eq!(
        (world.cves("001", 210).await?, world.cves("002", 210).await?),
        (vec![B.into(), C.into()], vec![B.into(), C.into()])
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bad_leaves_the_database_as_it_was_and_a_change_that_does_not_fit_loads_the_snapshot() -> Result<()> {
    let mut world = World::start().await?;
    world.node("node-1", 1).await?;
    let good = world.snapshot(100, &[(A, cve("openssl", "2", "HIGH"))]).await?;
    let loaded = world.feed(json!({ "from": 0, "to": 100, "snapshot": good })).await?;
    assert_eq!(loaded.counts.success, 1, "{loaded:?}");
    // Of a task that fails the next one has to be the same feed no more: each brings a snapshot.
    let missing = json!({ "object": "none", "size": 1, "sha256": digest(b""), "offset": 101 });
    let mut other = world.store("other", b"not what was said\n", 102).await?;
    other["sha256"] = json!(digest(b"x"));
    let broken =
        world.store("broken", format!("{}{{\n", line(B, 103, &cve("bash", "9", "LOW"))).as_bytes(), 103).await?;
    for (snapshot, offset, why) in [(missing, 101, "holds no 'none'"), (other, 102, "SHA-256"), (broken, 103, "line 2")]
    {
        let failed = world.feed(json!({ "from": 0, "to": offset, "snapshot": snapshot })).await?;
        assert_eq!((failed.state, failed.counts.failure), (State::Failed, 1), "{failed:?}");
        let message = world.system.result(&failed.id, "001").await?["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(why), "{message}");
        assert_eq!(world.cves("001", 100).await?, [A]);
    }
    // The patch is for a record that this node does not have, but the snapshot does.
    let patch = json!([{ "op": "test", "path": "/containers/adp/0/affected/0/product", "value": "bash" }]);
    let update = json!([{ "type": "update", "resource": B, "offset": 105, "version": 2, "operations": patch }]);
    let changes = world.changes(105, update).await?;
    let newer = world.store("newer", line(B, 99, &cve("bash", "9", "LOW")).as_bytes(), 104).await?;
    let diverged = world.feed(json!({ "from": 100, "to": 105, "snapshot": newer, "changes": [changes] })).await?;
    assert_eq!(diverged.counts.success, 1, "{diverged:?}");
    assert_eq!(world.cves("001", 105).await?, [B]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_while_it_loads_has_the_old_database_and_loads_again() -> Result<()> {
    let mut world = World::start().await?;
    world.node("node-1", 1).await?;
    let old = world.snapshot(100, &[(A, cve("openssl", "2", "HIGH"))]).await?;
    assert_eq!(world.feed(json!({ "from": 0, "to": 100, "snapshot": old })).await?.counts.success, 1);
    // Large enough to be killed in the middle.
    let padding = "x".repeat(20_000);
    let mut lines = String::new();
    for n in 0..5_000 {
        let mut record = cve("openssl", "9", "LOW");
        record["padding"] = json!(padding);
        lines += &line(&format!("CVE-2025-{}", 10_000 + n), 150, &record);
    }
    let large = world.store("large", lines.as_bytes(), 200).await?;
    let task =
        world.system.publish("cve-content", &json!({ "args": { "from": 0, "to": 200, "snapshot": large } })).await?;
    let home = world.directory("node-1").join("vulnerabilities");
    eventually("the loading", PATIENCE, || async { home.join("loading.redb").exists().then_some(()) }).await;
    world.system.kill("server")?;
    assert_eq!(Database::open(&home)?.contents()?.offset, 100);
    world.node("node-1", 1).await?;
    let loaded = world.system.ended(&task).await;
    assert_eq!((loaded.state, loaded.counts.success), (State::Succeeded, 1), "{loaded:?}");
    assert_eq!(world.system.result(&task, "001").await?["data"]["cves"], 5_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_lists_its_packages_and_a_node_finds_their_vulnerabilities() -> Result<()> {
    let mut world = World::start().await?;
    let (_agent, id) = world.agent("web-1", &[("openssl", "1.0-1"), ("bash", "5.2"), ("own", "1")]).await?;
    let scan = |args: Value| json!({ "target": { "type": "agent", "id": id }, "args": args });
    let none = world.system.done("vulnerability-rescan", &scan(json!({}))).await?;
    assert_eq!((none.state, codes(&none)), (State::Rejected, vec![("no-feed", "/args/offset")]));
    let nobody = json!({ "target": { "type": "agent", "id": "999" }, "args": { "offset": 1 } });
    let nobody = world.system.done("vulnerability-rescan", &nobody).await?;
    assert_eq!(codes(&nobody), [("unknown-agent", "/target/id")], "{nobody:?}");
    let wrong = world.system.done("vulnerability-rescan", &scan(json!({ "offset": "now" }))).await?;
    assert_eq!(codes(&wrong), [("schema", "/args/offset")]);
    assert_eq!(world.findings(&id)?, Value::Null);

    world.node("node-1", 1).await?;
    let records =
        [(A, cve("openssl", "2", "HIGH")), (B, cve("bash", "1", "LOW")), (C, cve("openssl", "1.0-2", "CRITICAL"))];
    let feed = json!({ "from": 0, "to": 100, "snapshot": world.snapshot(100, &records).await? });
    assert_eq!(world.feed(feed).await?.counts.success, 1);
    let first = world.system.done("vulnerability-rescan", &scan(json!({}))).await?;
    assert_eq!((first.state, first.counts.success), (State::Succeeded, 1), "{first:?}");
    let evidence = world.system.result(&first.id, &id).await?["data"].take();
    assert_eq!((&evidence["offset"], &evidence["scanned"], &evidence["unlisted"]), (&json!(100), &json!(3), &json!(1)));
    assert_eq!(
        (&evidence["counts"]["critical"], &evidence["counts"]["high"], &evidence["counts"]["low"]),
        (&json!(1), &json!(1), &json!(0))
    );
    let shown = world.shown(&id, "table")?;
    assert!(shown.find(C).unwrap() < shown.find(A).unwrap() && !shown.contains(B), "{shown}");

    // The same task again is the same task; a new one scans again, and nothing has changed.
    let named = json!({ "id": "scan-1", "target": { "type": "agent", "id": id }, "args": { "offset": 100 } });
    let once = world.system.done("vulnerability-rescan", &named).await?;
    let record = world.system.record(1).await?;
    let twice = world.system.done("vulnerability-rescan", &named).await?;
    assert_eq!((once.order, once.counts.success), (twice.order, 1));
    assert_eq!(world.system.record(1).await?, record);
    // Its packages have changed, and the offset has not.
    install(&world.home.path().join("web-1-machine"), &[("openssl", "2"), ("bash", "5.2")])?;
    assert_eq!(world.system.done("vulnerability-rescan", &scan(json!({}))).await?.counts.success, 1);
    assert_eq!(world.findings(&id)?["findings"], json!([]));

    // An offset that no node has yet: the agent waits, and of two such tasks the newest is done.
    let older = world.system.publish("vulnerability-rescan", &scan(json!({ "offset": 105 }))).await?;
    world.system.summary(&older, "the wait", |s| s.counts.in_progress == 1).await;
    let newer = world.system.publish("vulnerability-rescan", &scan(json!({ "offset": 110 }))).await?;
    world.system.summary(&newer, "the wait", |s| s.counts.in_progress == 1).await;
    let ten = world.changes(110, json!([create(105, "CVE-2024-1004", &cve("openssl", "3", "MEDIUM"))])).await?;
    assert_eq!(world.feed(json!({ "from": 100, "to": 110, "changes": [ten] })).await?.counts.success, 1);
    let (older, newer) = (world.system.ended(&older).await, world.system.ended(&newer).await);
    assert_eq!((older.counts.superseded, newer.counts.success), (1, 1), "{older:?} {newer:?}");
    let found = world.findings(&id)?;
    assert_eq!((&found["offset"], &found["findings"][0]["cve"]), (&json!(110), &json!("CVE-2024-1004")));
    // One that never comes: the failure says so.
    let never = json!({ "target": { "type": "agent", "id": id }, "args": { "offset": 999 }, "timeout": 6 });
    let never = world.system.done("vulnerability-rescan", &never).await?;
    assert_eq!(never.counts.failure, 1, "{never:?}");
    let message = world.system.result(&never.id, &id).await?["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("at offset 999") && message.contains("stands at offset 110"), "{message}");
    // A machine whose packages cannot be listed is no safe one.
    std::fs::remove_file(world.home.path().join("web-1-machine/var/lib/dpkg/status"))?;
    let blind = world.system.done("vulnerability-rescan", &scan(json!({}))).await?;
    assert_eq!(blind.counts.failure, 1, "{blind:?}");
    assert_eq!(world.findings(&id)?["offset"], 110);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_functions_survive_a_crash_at_each_write() -> Result<()> {
    let mut world = World::start().await?;
    world.node("node-1", 1).await?;
    let (_agent, id) = world.agent("web-1", &[("openssl", "1.0-1")]).await?;
    let first = world.snapshot(1, &[(A, cve("openssl", "2", "HIGH"))]).await?;
    assert_eq!(world.feed(json!({ "from": 0, "to": 1, "snapshot": first })).await?.counts.success, 1);
    let mut offset = 1;
    for prefix in ["$KV.tasks.", "BUCKET", "commands.", "facts."] {
        for when in ["kill-before", "kill-after"] {
            let next = world.changes(offset + 1, json!([])).await?;
            let feed = json!({ "args": { "from": offset, "to": offset + 1, "changes": [next] } });
            offset += 1;
            let scan = json!({ "target": { "type": "agent", "id": id }, "args": {} });
            for (function, bucket, task) in
                [("cve-content", "$KV.cve.", feed), ("vulnerability-rescan", "$KV.agents.plan.", scan)]
            {
                let how = format!("{when}:{}", prefix.replace("BUCKET", bucket));
                println!("{function}: {how}");
                let ended = world.system.killed(function, &how, &task).await?;
                assert_eq!(
                    (ended.state, ended.counts.success, ended.recipients),
                    (State::Succeeded, 1, Some(1)),
                    "{how}"
                );
                let recipient = if function == "cve-content" { "001" } else { &id };
                assert_eq!(world.system.result(&ended.id, recipient).await?["data"]["offset"], offset, "{how}");
            }
        }
    }
    assert_eq!(world.cves("001", offset).await?, [A]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_snapshot_is_loaded() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/cve/cti-snapshot.ndjson");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not here", path.display());
        return Ok(());
    };
    let records: Vec<Value> = String::from_utf8(bytes.clone())?
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let is_cve = |record: &&Value| record["name"].as_str().is_some_and(|name| name.starts_with("CVE-"));
    let (cves, last) =
        (records.iter().filter(is_cve).count(), records.iter().filter_map(|r| r["offset"].as_u64()).max().unwrap());
    let mut world = World::start().await?;
    world.node("node-1", 1).await?;
    let snapshot = world.store("cve-snapshot", &bytes, last).await?;
    let loaded = world.feed(json!({ "from": 0, "to": last, "snapshot": snapshot })).await?;
    assert_eq!((loaded.state, loaded.counts.success), (State::Succeeded, 1), "{loaded:?}");
    let evidence = world.system.result(&loaded.id, "001").await?["data"].take();
    assert_eq!((&evidence["offset"], &evidence["cves"]), (&json!(last), &json!(cves)), "{evidence}");
    Ok(())
}
