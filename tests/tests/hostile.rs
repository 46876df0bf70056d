//! Unknown, oversized, malformed and forged input of every message: it is refused or put aside, nothing changes, and the
//! next good task is done at once by both agents.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use async_nats::{Client, jetstream};
use futures::StreamExt as _;
use muster_core::dead::DeadLetter;
use muster_core::names::digest;
use muster_core::status::State;
use muster_core::summary::Summary;
use muster_testkit::{PATIENCE, Process, eventually};
use muster_tests::System;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The user whose permissions are those of all agents together.
const AGENT: &str = "fleet";
/// The streams in which every message counts.
const STREAMS: [&str; 6] = ["TASKS", "COMMANDS", "RUNS", "RESULTS", "SCHEDULE", "DEAD"];
/// The buckets that only tasks and enrolments change.
const BUCKETS: [&str; 4] = ["KV_agents", "KV_groups", "KV_tasks", "KV_sets"];
/// Keys that the services write by themselves.
const OWN: [&str; 3] = ["$KV.agents.check.", "$KV.agents.lease.", "$KV.agents.floor"];

/// A system with two real agents in the group `web`, and two that only their requests make.
struct World {
    system: System,
    agents: [Process; 2],
    roots: [PathBuf; 2],
    ids: [String; 2],
    /// An agent's connection.
    raw: Client,
    rounds: AtomicU32,
    _home: TempDir,
}

impl World {
    async fn start() -> Result<Self> {
        let system = System::start().await?;
        let home = tempfile::tempdir()?;
        let roots = [home.path().join("a1"), home.path().join("a2")];
        let agents = [system.agent(&roots[0], "web-1")?, system.agent(&roots[1], "web-2")?];
        let ids = [system.enrolled("web-1").await, system.enrolled("web-2").await];
        let raw = system.server.agents(AGENT).await?;
        let world = Self { system, agents, roots, ids, raw, rounds: AtomicU32::new(0), _home: home };
        world.system.make_group("web", "agent:\n  queue_size: 1001\n").await?;
        let assign = json!({ "target": { "type": "agent", "id": world.ids },
                             "args": { "operation": "assign", "groups": ["web"] } });
        let task = world.system.publish("group-assignment", &assign).await?;
        assert_eq!(world.system.ended(&task).await.counts.success, 2);
        Ok(world)
    }

    /// A good task, done by both agents.
    async fn good(&self) -> Summary {
        let round = 2_000 + self.rounds.fetch_add(1, Ordering::Relaxed);
        let content = format!("agent:\n  queue_size: {round}\n");
        let task = json!({ "target": { "type": "group", "id": "web" }, "args": { "content": content } });
        let task = self.system.publish("group-configuration", &task).await.unwrap();
        let done = self.system.ended(&task).await;
        assert_eq!((done.state, done.recipients, done.counts.success), (State::Succeeded, Some(2), 2), "{done:?}");
        done
    }

    /// An agent's question, and the gateway's answer.
    async fn ask(&self, subject: &str, payload: impl Into<Vec<u8>>) -> Result<Value> {
        let asker = subject.split('.').nth(1).unwrap_or_default();
        Ok(serde_json::from_slice(&muster_testkit::ask_as(&self.raw, asker, subject, payload.into()).await?)?)
    }

    /// The code of the refusal.
    async fn refused(&self, subject: &str, payload: impl Into<Vec<u8>>) -> String {
        // An agent may ask a hundred times at once, then twenty times a second.
        eventually(&format!("a refusal at {subject}"), PATIENCE, {
            let payload = payload.into();
            move || {
                let payload = payload.clone();
                async move {
                    let answer = self.ask(subject, payload).await.map_err(|e| e.to_string())?;
                    match answer["errors"][0]["code"].as_str() {
                        Some("slow-down") | None => Err(answer.to_string()),
                        Some(code) => Ok(code.to_owned()),
                    }
                }
            }
        })
        .await
    }

    /// Enrols an agent that is no program.
    async fn enrol(&self, name: &str) -> Result<String> {
        let nkey = format!("U{:A<55}", name.to_uppercase().replace(|c: char| !c.is_ascii_uppercase(), "A"));
        let answer = self.ask(&format!("enrol.{nkey}"), json!({ "name": name }).to_string()).await?;
        Ok(answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned())
    }

    /// How many messages each subject holds, and the last place of each stream that nobody writes to by itself.
    async fn stored(&self) -> Result<BTreeMap<String, u64>> {
        let mut stored = BTreeMap::new();
        for stream in STREAMS.into_iter().chain(BUCKETS) {
            let filter = json!({ "subjects_filter": ">" });
            let info = self.system.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &filter).await?;
            for (subject, count) in info["state"]["subjects"].as_object().into_iter().flatten() {
                if !OWN.iter().any(|own| subject.starts_with(own)) && !subject.starts_with("schedule.") {
                    stored.insert(subject.clone(), count.as_u64().unwrap());
                }
            }
            if STREAMS.contains(&stream) {
                stored.insert(stream.to_owned(), info["state"]["last_seq"].as_u64().unwrap());
            }
        }
        Ok(stored)
    }

    /// The same, once it stays the same.
    async fn calm(&self) -> BTreeMap<String, u64> {
        eventually("calm", PATIENCE, || async {
            let before = self.stored().await.ok()?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            (self.stored().await.ok()? == before).then_some(before)
        })
        .await
    }

    /// Waits until every message of every stream is settled.
    async fn settled(&self) {
        for consumer in [
            "TASKS.task-manager",
            "TASKS.group-assignment",
            "TASKS.group-configuration",
            "COMMANDS.comms-api",
            "RUNS.comms-api",
            "RESULTS.result-collector",
            "SCHEDULE.task-manager",
        ] {
            eventually(&format!("an ack of every message of {consumer}"), PATIENCE, || async {
                let info = self.system.ask(&format!("$JS.API.CONSUMER.INFO.{consumer}"), &json!({})).await;
                let info = info.map_err(|e| e.to_string())?;
                if info["num_pending"] == 0 && info["num_ack_pending"] == 0 { Ok(()) } else { Err(info.to_string()) }
            })
            .await;
        }
    }

    fn files(&self) -> Vec<Vec<u8>> {
        self.roots.iter().map(|root| std::fs::read(root.join("agent.yml")).unwrap()).collect()
    }
}

/// Bytes that are no message of any kind.
fn rubbish() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = ["{", "[]", "null", "7", "\"x\"", "\u{0}", "{\"unheard\":1}", "{}}", "NaN"]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    all.extend([vec![0xff, 0xfe, 0x00], b"[".repeat(30_000), b"{\"ledger\":".repeat(6_000)]);
    all
}

fn report(results: Value) -> String {
    json!({ "ledger": "l", "results": results }).to_string()
}

fn one(task: &str, status: &str) -> String {
    report(json!([{ "request_id": task, "status": status }]))
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_of_agents_are_refused_and_the_next_good_task_is_done() -> Result<()> {
    let world = World::start().await?;
    let hostile = world.enrol("hostile").await?;
    let subject = |what: &str| format!("agent.{hostile}.{what}");
    let before = world.calm().await;

    let nkey = "U".repeat(56);
    for subject in [format!("enrol.{nkey}"), subject("hello"), subject("sync"), subject("result")] {
        for payload in rubbish().into_iter().chain([Vec::new()]) {
            assert_eq!(world.refused(&subject, payload).await, "schema", "{subject}");
        }
        for large in [vec![b' '; 1_000_000], json!({ "ledger": "x".repeat(1_000_000) }).to_string().into_bytes()] {
            assert_eq!(world.refused(&subject, large).await, "too-large", "{subject}");
        }
    }
    let enrol = json!({ "name": "fine" }).to_string();
    for bad in ["x", "UA", &"u".repeat(56), &"U".repeat(200)] {
        assert_eq!(world.refused(&format!("enrol.{bad}"), enrol.clone()).await, "bad-key", "{bad}");
    }
    for (name, code) in [("a.*", "bad-name"), (&"x".repeat(300), "bad-name"), ("", "bad-name"), ("web-1", "name-taken")]
    {
        assert_eq!(world.refused(&format!("enrol.{nkey}"), json!({ "name": name }).to_string()).await, code, "{name}");
    }
    world.good().await;

    let hello = |field: &str, value: Value| {
        let mut hello = json!({ "ledger": "l", "version": "5.0", "os": "linux" });
        hello[field] = value;
        hello.to_string()
    };
    let bad = [
        ("version", json!(-1), "schema"),
        ("labels", json!({ "site": 1 }), "schema"),
        ("lanes", json!({ "groups": "0-99999999999999999999999" }), "schema"),
        ("lanes", json!({ "groups": "-1-1" }), "schema"),
        ("lanes", json!({ "no.lane": "0-1" }), "schema"),
        ("digests", json!({ "groups": "x".repeat(300) }), "schema"),
        ("version", json!("x".repeat(300)), "too-large"),
        ("labels", (0..300).map(|n| (n.to_string(), json!(""))).collect::<serde_json::Map<_, _>>().into(), "too-many"),
    ];
    for (field, value, code) in bad {
        assert_eq!(world.refused(&subject("hello"), hello(field, value)).await, code, "{field}");
    }
    for id in ["009", "x", "0003", "-1", "4294967295", "4294967296", "99999999999999999999", &"9".repeat(200)] {
        for what in ["hello", "config.web", "content.x"] {
            let asked = format!("agent.{id}.{what}");
            assert_eq!(world.refused(&asked, hello("os", json!("linux"))).await, "unknown-agent", "{asked}");
        }
    }
    // Nobody answers at a subject that is none.
    for nobody in ["agent.a.b.hello", "agent.001.reset", "agent.001", "agent.001.config", "enrol.a.b"] {
        assert!(world.ask(nobody, "{}").await.is_err(), "{nobody}");
    }
    world.good().await;
    // None of it was stored: only the good tasks have left something.
    let after = world.calm().await;
    for subject in after.keys().filter(|subject| !before.contains_key(*subject)) {
        let of_task =
            ["$KV.tasks.t0-", "$KV.sets.t0-", "results.t0-", "facts.t0-"].iter().any(|p| subject.starts_with(p));
        let of_chain = ["plan", "recipients", "page", "finish"]
            .iter()
            .any(|p| subject.starts_with(&format!("$KV.agents.{p}.t0-")));
        let of_content = ["$KV.groups.web.", "commands.agent."].iter().any(|p| subject.starts_with(p));
        assert!(of_task || of_chain || of_content, "{subject}");
    }
    assert_eq!(world.system.ask("agent.list", &json!({})).await?["total"], 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_can_lie_only_about_itself() -> Result<()> {
    let world = World::start().await?;
    let (idle, hostile) = (world.enrol("idle").await?, world.enrol("hostile").await?);
    let subject = |what: &str| format!("agent.{hostile}.{what}");
    let ended = world.good().await;
    // A task that waits for an agent which says nothing.
    world.system.make_group("db", "agent:\n  queue_size: 1007\n").await?;
    let assign = json!({ "id": "open", "target": { "type": "agent", "id": idle },
                         "args": { "operation": "assign", "groups": ["db"] } });
    world.system.publish("group-assignment", &assign).await?;
    let open = world.system.summary("open", "a decision", |s| s.counts.pending == 1).await;
    world.settled().await;
    let sets = |stored: BTreeMap<String, u64>| -> Vec<String> {
        stored.into_keys().filter(|subject| subject.starts_with("$KV.")).collect()
    };
    let before = sets(world.calm().await);

    let many = |n: usize| report(vec![json!({ "request_id": "open", "status": "success" }); n].into());
    for (payload, code) in [(many(10_000), "too-large"), (many(600), "too-many")] {
        assert_eq!(world.refused(&subject("result"), payload).await, code);
    }
    for task in ["a.b", "a*", ">", "*", "a b", "", "open.001", &"x".repeat(300), "\u{0}", "\u{1f600}"] {
        assert_eq!(world.refused(&subject("result"), one(task, "success")).await, "schema", "{task}");
    }
    let extra = |field: &str, value: Value| {
        let mut result = json!({ "request_id": "open", "status": "success" });
        result[field] = value;
        report(json!([result]))
    };
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let nested = |n: usize| one("open", "success").replace("}]", &format!(",\"result\":{{\"data\":{}}}}}]", deep(n)));
    for payload in [
        extra("number", json!(1)),
        extra("status", json!("gone")),
        extra("lane", json!("a.b")),
        extra("version", json!("0--1")),
        extra("version", json!(18_446_744_073_709_551_615_u64)),
        extra("result", json!({ "code": 9_223_372_036_854_775_807_i64 })),
        extra("result", json!({ "code": 1e300 })),
        extra("result", json!({ "agent": "001" })),
        nested(20_000),
    ] {
        assert_eq!(world.refused(&subject("result"), payload.clone()).await, "schema", "{payload:.100}");
    }

    // Well-formed lies: about tasks that are not there, that have ended, and that concern others.
    for task in ["none", "t0-999999", "t9-1", ended.id.as_str(), "open"] {
        for status in ["in_progress", "success", "failure", "failed"] {
            let answer = world.ask(&subject("result"), one(task, status)).await?;
            assert_eq!(answer["confirmed"], json!([task]), "it is not asked to say it again");
        }
    }
    let large = extra("result", json!({ "code": -1, "message": "m".repeat(20_000), "data": "d".repeat(30_000) }));
    for payload in [large, nested(100)] {
        assert_eq!(world.ask(&subject("result"), payload).await?["confirmed"], json!(["open"]));
    }
    world.settled().await;
    assert_eq!(sets(world.calm().await), before, "no fact, summary or record is there that was not there before");
    assert_eq!(world.system.read::<Summary>("tasks", "open").await?.unwrap(), open);
    assert_eq!(world.system.read::<Summary>("tasks", &ended.id).await?.unwrap(), ended);

    // Contents and configurations of groups that it is not in.
    let web = world.system.ask("group.get", &json!({ "group": "web" })).await?;
    let content = web["contents"]["config"]["digest"].as_str().unwrap_or_else(|| panic!("{web}")).to_owned();
    assert_eq!(world.ask(&format!("agent.{}.config.web", world.ids[0]), "").await?["digest"], json!(content));
    for what in [
        "config.web".to_owned(),
        "config.db".to_owned(),
        "config.none".to_owned(),
        format!("config.{}", "x".repeat(300)),
        format!("content.{content}"),
        "content.x".to_owned(),
        format!("content.{}", digest(b"")),
    ] {
        for payload in [Vec::new(), b"{".to_vec(), vec![b' '; 1_000_000]] {
            assert_eq!(world.refused(&subject(&what), payload).await, "not-yours", "{what}");
        }
    }
    assert_eq!(world.refused(&subject("config.bad=zz"), "").await, "bad-subject");
    world.good().await;

    // About itself it may say what it likes.
    world.ask(&format!("agent.{idle}.result"), one("open", "success")).await?;
    assert_eq!(world.system.ended("open").await.counts.success, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_subjects_reach_nobody_and_store_nothing() -> Result<()> {
    let world = World::start().await?;
    let hostile = world.enrol("hostile").await?;
    // Where a gateway hears answers to its pushes.
    let push = world.system.server.agents("push").await?;
    let mut answers = push.subscribe("agent.*.rx.>").await?;
    push.flush().await?;
    world.good().await;
    let inbox = tokio::time::timeout(PATIENCE, answers.next()).await?.unwrap().subject.to_string();

    let mut commands = world.system.server.agents(AGENT).await?.subscribe("agent.*.command").await?;
    let hello = json!({ "ledger": "l", "version": "5.0", "os": "linux" }).to_string();
    world.ask(&format!("agent.{hostile}.hello"), hello.clone()).await?;
    let before = world.calm().await;
    let (victim, said) = (&world.ids[0], one("open", "success"));
    let forged = [
        format!("agent.{victim}.command"),
        format!("agent.{victim}.result"),
        format!("agent.{victim}.hello"),
        "$JS.API.STREAM.PURGE.TASKS".to_owned(),
        "$JS.API.STREAM.DELETE.TASKS".to_owned(),
        "results.x.001".to_owned(),
        "tasks.group-assignment".to_owned(),
        format!("commands.agent.{victim}.set.groups"),
        "$KV.agents.id.001".to_owned(),
        inbox.clone(),
    ];
    for reply in &forged {
        for (what, payload) in [("hello", &hello), ("sync", &hello), ("result", &said)] {
            let subject = format!("agent.{hostile}.{what}");
            world.raw.publish_with_reply(subject, reply.clone(), payload.clone().into()).await?;
        }
    }
    // An agent may publish none of these itself, as a push, into a stream or at the API.
    let over = json!({ "commands": [{ "request_id": "forged", "order_id": "forged:001", "order": "0-9",
        "target": { "type": "agent", "id": victim }, "action": { "name": "set-group", "args": { "groups": [] }, "version": "1" },
        "timeout": 1, "deliver_until": "2099-01-01T00:00:00Z",
        "sets": { "groups": { "version": "0-9999", "order": "0-9999", "task": "forged" } } }] });
    for subject in forged.iter().filter(|s| !s.starts_with("agent.") || s.ends_with(".command")) {
        world.raw.publish(subject.clone(), over.to_string().into()).await?;
    }
    // On the same connection and after all of it: when this is answered, the server has judged the rest.
    world.refused(&format!("agent.{hostile}.sync"), "").await;
    push.publish(format!("agent.{victim}.command"), "{}".into()).await?;
    let first = tokio::time::timeout(PATIENCE, commands.next()).await?.unwrap();
    assert_eq!((first.payload.as_ref(), first.reply), (b"{}".as_slice(), None), "only what the gateway's user pushes");
    assert_eq!(world.calm().await, before);
    world.good().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_push_leaves_an_agent_as_it_is() -> Result<()> {
    let mut world = World::start().await?;
    world.good().await;
    let (files, push) = (world.files(), world.system.server.agents("push").await?);
    let mut answers = push.subscribe("agent.*.rx.test").await?;
    let command = |name: &str, lane: &str, version: &str, digest: &str| {
        let entry = json!({ "version": version, "order": "0-9", "task": "evil", "digest": digest });
        let sets = if lane.is_empty() { json!({}) } else { json!({ lane: entry }) };
        json!({ "request_id": "evil", "order_id": "evil:001", "target": { "type": "agent", "id": "001" },
                "action": { "name": name, "args": { "groups": ["../../etc", "web"] }, "version": "1" }, "order": "0-9",
                "timeout": 1, "deliver_until": "2099-01-01T00:00:00Z", "sets": sets })
    };
    let over = |command: Value| json!({ "commands": [command] }).to_string().into_bytes();
    let other = "agent:\n  queue_size: 1009\n";
    let mut pushes = rubbish();
    pushes.extend([
        Vec::new(),
        vec![b' '; 1_000_000],
        json!({ "bodies": { "x": "y".repeat(1_000_000) } }).to_string().into_bytes(),
        br#"{"commands":{}}"#.to_vec(),
        br#"{"commands":[{"request_id":"evil"}]}"#.to_vec(),
        br#"{"floor":"0-x"}"#.to_vec(),
        br#"{"epoch":-1}"#.to_vec(),
        br#"{"name":"../../etc/passwd","confirmed":["none","a.b"],"unheard":1}"#.to_vec(),
        // Unknown actions, in a lane and outside; a lane that it does not know.
        over(command("reboot", "", "0-9999", "")),
        over(command("reboot", "sca=evil", "0-9999", "")),
        over(command("set-config", "sca=evil", "0-9999", "")),
        over(command("set-group", "config=none", "0-9999", &digest(b"x"))),
        // Lower versions.
        over(command("set-group", "groups", "0-1", "")),
        over(command("set-config", "config=web", "0-1", &digest(b""))),
        // A body that is not what its digest says, and one that is nowhere.
        json!({ "commands": [command("set-config", "config=web", "0-9999", &digest(b"x"))],
                "bodies": { digest(b"x"): other } })
        .to_string()
        .into_bytes(),
        over(command("set-config", "config=web", "0-9999", &digest(b"nowhere"))),
    ]);
    let processes: Vec<u32> = world.agents.iter().map(Process::id).collect();
    for id in &world.ids {
        for payload in &pushes {
            push.publish(format!("agent.{id}.command"), payload.clone().into()).await?;
        }
        push.publish_with_reply(format!("agent.{id}.command"), format!("agent.{id}.rx.test"), "{}".into()).await?;
        let receipt = tokio::time::timeout(PATIENCE, answers.next()).await?.unwrap();
        assert_eq!(receipt.subject.as_str(), format!("agent.{id}.rx.test"), "it has taken in all that came before");
    }
    assert_eq!(world.files(), files, "the configuration in force is unchanged");
    for (agent, process) in world.agents.iter_mut().zip(processes) {
        assert!(agent.is_running()? && agent.id() == process);
    }
    world.good().await;
    assert_ne!(world.files(), files);
    for id in &world.ids {
        assert_eq!(world.ask(&format!("agent.{id}.config.web"), "").await?["revision"], 3, "it still is who it was");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_in_the_streams_is_put_aside_and_the_next_good_task_is_done() -> Result<()> {
    let world = World::start().await?;
    let js = jetstream::new(world.system.client.clone());
    let ended = world.good().await;
    let id = &world.ids[0];
    let long = "x".repeat(300);
    let subjects = |stream: &str| -> Vec<String> {
        match stream {
            "COMMANDS" => vec![format!("commands.agent.{id}.set.groups"), "commands.agent.x=2ey.set.z".into()],
            "RUNS" => vec![format!("commands.agent.{id}.run.evil"), format!("commands.agent.{long}.run.{long}")],
            "RESULTS" => [ended.id.as_str(), "none", &long, "a=b"]
                .iter()
                .flat_map(|task| [format!("results.{task}.{id}"), format!("starts.{task}.x"), format!("facts.{task}")])
                .collect(),
            "TASKS" => {
                vec!["tasks.group-configuration".into(), "tasks.group-assignment".into(), format!("tasks.{long}")]
            }
            _ => ["none", "a.b.c", &long, "a=b"].iter().map(|task| format!("schedule.due.{task}")).collect(),
        }
    };
    let mut payloads = rubbish();
    payloads.extend([
        Vec::new(),
        br#"{"number":-1,"status":"success"}"#.to_vec(),
        br#"{"number":4294967296,"status":"success"}"#.to_vec(),
        br#"{"number":1e300,"status":"success"}"#.to_vec(),
        br#"{"fact":"page","n":-1}"#.to_vec(),
        vec![b' '; 60_000],
    ]);
    for stream in ["COMMANDS", "RUNS", "RESULTS", "TASKS", "SCHEDULE"] {
        for subject in subjects(stream) {
            for payload in &payloads {
                // Insert-once refuses the second; the others take what fits.
                let stored = js.publish(subject.clone(), payload.clone().into()).await?.await;
                assert!(stored.is_ok() || stream == "RUNS", "{subject}: {stored:?}");
            }
            let large = js.publish(subject.clone(), vec![b' '; 1_000_000].into()).await?.await;
            assert!(large.is_err(), "{subject} takes a megabyte");
        }
        world.settled().await;
        world.good().await;
    }
    let letters = js.get_stream("DEAD").await?.get_info().await?.state;
    let mut places = Vec::new();
    for place in letters.first_sequence..=letters.last_sequence {
        let message = js.get_stream("DEAD").await?.get_raw_message(place).await?;
        let letter: DeadLetter = serde_json::from_slice(&message.payload)?;
        assert_eq!(message.subject.as_str(), letter.at());
        assert!(!letter.reason.is_empty() && !letter.subject.is_empty());
        places.push(letter.stream);
    }
    for stream in ["COMMANDS", "RUNS", "RESULTS"] {
        assert!(places.iter().any(|of| of == stream), "no letter of {stream}");
    }
    assert_eq!(world.system.read::<Summary>("tasks", &ended.id).await?.unwrap(), ended);
    Ok(())
}
