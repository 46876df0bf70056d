//! What agents ask: enrolment, hello, sync, contents, and what is no good question.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{World, hello, nkey};
use anyhow::Result;
use futures::StreamExt;
use futures::future::try_join_all;
use muster_broker::Broker as _;
use muster_core::lane::Lane;
use muster_core::message::{BodyAnswer, Confirmed, Enrolled, HandOver};
use muster_core::names::digest;
use muster_core::numbers::Numbers;
use muster_core::record::{Agent, Entry, Reported, agent_number};
use muster_core::stamp::Stamp;
use muster_testkit::{PATIENCE, eventually};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_one_agent_however_often_it_asks() -> Result<()> {
    let world = World::start().await?;
    let gateway = world.gateway().await?;
    let first = world.enrol(&nkey(1), "web-1").await?;
    assert_eq!(first, Enrolled { id: "001".into(), name: "web-1".into() });
    assert_eq!(world.enrol(&nkey(1), "web-1").await?, first);
    assert_eq!(world.enrol(&nkey(1), "another-name").await?, first);

    let enrol = |n, name| (format!("enrol.{}", nkey(n)), json!({ "name": name }).to_string());
    let (subject, taken) = enrol(2, "web-1");
    assert_eq!(world.refusal(&subject, taken).await?, "name-taken");
    let (subject, bad) = enrol(2, ".hidden");
    assert_eq!(world.refusal(&subject, bad).await?, "bad-name");
    assert_eq!(world.refusal("enrol.UNKEY", json!({ "name": "web-2" }).to_string()).await?, "bad-key");
    let (subject, good) = enrol(2, "web-2");
    assert_eq!(world.refusal(&subject, "{\"name\":").await?, "schema");
    assert_eq!(world.refusal(&subject, vec![b' '; 100_000]).await?, "too-large");
    let second: Enrolled = serde_json::from_slice(&world.ask(&subject, good).await?)?;
    assert_eq!(second.id, "002");

    // A new process goes on with a block of its own.
    gateway.stop().await?;
    let _gateway = world.gateway().await?;
    assert_eq!(world.enrol(&nkey(1), "web-1").await?, first);
    assert_eq!(world.enrol(&nkey(3), "web-3").await?.id, "257");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_enrol_a_crowd() -> Result<()> {
    const CROWD: usize = 2000;
    let world = World::start().await?;
    let _gateways = [world.gateway().await?, world.gateway().await?];
    // Every tenth asks twice at once.
    let keys = (0..CROWD).chain((0..CROWD).step_by(10));
    let asked = keys.map(|n| {
        let world = &world;
        async move { Ok::<_, anyhow::Error>((n, world.enrol(&nkey(n), &format!("host-{n}")).await?)) }
    });
    let enrolled: BTreeSet<(usize, String)> =
        try_join_all(asked).await?.into_iter().map(|(n, enrolled)| (n, enrolled.id)).collect();
    let ids: BTreeSet<&String> = enrolled.iter().map(|(_, id)| id).collect();
    assert_eq!((enrolled.len(), ids.len()), (CROWD, CROWD), "each key one id, each id one key");

    let numbers: Numbers = ids.iter().map(|id| agent_number(id).unwrap()).collect();
    for set in ["enrolled.0", "group.default.0"] {
        let stored = Numbers::decode(&world.value(set).await?.unwrap()).unwrap();
        assert_eq!(stored, numbers, "{set}");
    }
    for (n, id) in enrolled.iter().step_by(97) {
        let agent = world.record(id).await?;
        assert_eq!((agent.nkey, agent.name.as_str()), (nkey(*n), format!("host-{n}").as_str()));
        assert_eq!(world.value(&format!("name.host-{n}")).await?.unwrap(), json!(id).to_string());
        assert_eq!(world.value(&format!("key.{}", nkey(*n))).await?.unwrap(), json!(id).to_string());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_copy_is_seen_by_the_service_api() -> Result<()> {
    let world = World::start().await?;
    let _gateways = [world.gateway().await?, world.gateway().await?];
    let control = world.bus.client();
    let inbox = control.new_inbox();
    let mut answers = control.subscribe(inbox.clone()).await?;
    control.publish_with_reply("$SRV.PING.comms-api", inbox, "".into()).await?;
    let mut ids = BTreeSet::new();
    while ids.len() < 2 {
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await?.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        assert_eq!(answer["name"], "comms-api");
        ids.insert(answer["id"].to_string());
    }
    Ok(())
}

/// The versions of an agent that has taken everything in a hand-over.
fn taken(over: &HandOver) -> Value {
    let sets = over.commands.iter().flat_map(|command| &command.sets);
    sets.map(|(lane, entry)| (lane.to_string(), json!(entry.version.to_string())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_record_is_one_command() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let id = world.enrol(&nkey(1), "web-1").await?.id;
    let over = world.hello(&id, json!({})).await?;
    assert_eq!((over.name.as_deref(), over.epoch, over.more), (Some("web-1"), Some(0), false));
    assert!((225..375).contains(&over.sync_after.unwrap()));
    assert_eq!(over.commands.len(), 1);
    assert_eq!(over.commands[0].action.args, json!({ "groups": ["default"] }));
    let mut has = taken(&over);
    assert_eq!(world.hello(&id, has.clone()).await?.commands, []);

    let content = "localfile:\n  - location: \"/var/log/syslog\"\n";
    let sum = digest(content.as_bytes());
    world.put("groups", &format!("default.{sum}"), content).await?;
    let version = Stamp::new(0, 2);
    let entry =
        Entry { version, order: Stamp::new(0, 9), task: "t0-9".into(), digest: Some(sum.clone()), revision: Some(1) };
    let mut agent = world.record(&id).await?;
    agent.lanes.insert(Lane::config("default"), entry);
    agent = Agent { version, ..agent };
    world.put("agents", &format!("id.{id}"), serde_json::to_vec(&agent)?).await?;
    world.put("agents", "floor", json!("0-5").to_string()).await?;

    let sync = json!({ "ledger": "l", "lanes": has });
    let over: HandOver = world.ask_for(&format!("agent.{id}.sync"), &sync).await?;
    let [command] = &over.commands[..] else { panic!("{} commands", over.commands.len()) };
    assert_eq!((command.action.name.as_str(), command.request_id.as_str()), ("set-config", "t0-9"));
    assert_eq!(over.bodies, [(sum.clone(), content.to_owned())].into());
    has.as_object_mut().unwrap().extend(taken(&over).as_object().unwrap().clone());
    assert_eq!(world.hello(&id, has).await?.commands, []);
    let floor = || async { world.hello(&id, json!({})).await.ok()?.floor };
    assert_eq!(eventually("the floor is known", PATIENCE, floor).await, Stamp::new(0, 5));

    let body = BodyAnswer { digest: sum.clone(), revision: Some(1), content: content.into() };
    for subject in ["config.default".to_owned(), format!("content.{sum}")] {
        let answer = world.ask_for::<BodyAnswer>(&format!("agent.{id}.{subject}"), &json!({})).await?;
        assert_eq!(answer, body, "{subject}");
    }
    let other = world.enrol(&nkey(2), "web-2").await?.id;
    for subject in ["config.default".to_owned(), format!("content.{sum}"), "config.web=2eeu".into()] {
        assert_eq!(world.refusal(&format!("agent.{other}.{subject}"), "").await?, "not-yours", "{subject}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_says_of_itself_is_kept() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let id = world.enrol(&nkey(1), "web-1").await?.id;
    world.hello(&id, json!({})).await?;
    let kept: Reported = serde_json::from_value(world.stored("KV_reported", "$KV.reported.001").await?)?;
    assert_eq!((kept.version.as_str(), kept.os.as_str(), kept.labels["site"].as_str()), ("5.0.0", "linux", "eu"));
    assert!(kept.seen.is_some());
    let sync = json!({ "ledger": "l", "digests": { "config=default": "ab" } });
    world.ask("agent.001.sync", sync.to_string()).await?;
    let look = || async {
        let now: Reported = serde_json::from_value(world.stored("KV_reported", "$KV.reported.001").await.ok()?).ok()?;
        (now.digests.get(&Lane::config("default"))? == "ab" && now.version == "5.0.0").then_some(())
    };
    eventually("the digests are kept", PATIENCE, look).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_reply_subject_reaches_nobody() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let id = world.enrol(&nkey(1), "web-1").await?.id;
    let forger = world.enrol(&nkey(2), "forger").await?.id;
    let mut victim = world.agents.subscribe("agent.003.command").await?;
    let mut streams = world.bus.client().subscribe(">").await?;
    let forged = ["agent.003.command", "agent.001.result", "$JS.API.STREAM.PURGE.TASKS", "tasks.agent-name", "_INBOX"];
    for reply in forged {
        let payload = hello(json!({})).to_string();
        world.agents.publish_with_reply(format!("agent.{forger}.hello"), reply, payload.into()).await?;
    }
    // On the same connection and after those: when it is answered, they were judged or are about to be.
    assert_eq!(world.hello(&id, json!({})).await?.commands.len(), 1);
    world.bus.client().publish("the.end", "".into()).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    while let Some(message) = streams.next().await {
        let subject = message.subject.as_str();
        assert!(!forged.contains(&subject), "{subject}");
        if subject == "the.end" {
            break;
        }
    }
    // The requests were not even looked at: what the forger says of itself is not kept, what others say later is.
    world.stored("KV_reported", "$KV.reported.001").await?;
    assert_eq!(world.bus.get("KV_reported", "$KV.reported.002").await?, None);
    let silence = tokio::time::timeout(Duration::from_millis(200), victim.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_message_is_refused_and_the_next_good_one_is_answered() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let id = world.enrol(&nkey(1), "web-1").await?.id;
    for kind in ["hello", "sync", "result"] {
        let subject = format!("agent.{id}.{kind}");
        assert_eq!(world.refusal(&subject, vec![b'x'; 900_000]).await?, "too-large", "{kind}");
        for bad in ["", "{", "[]", "null", "{\"ledger\":7}", "{\"ledger\":\"l\",\"unheard\":1}", "\u{0}"] {
            assert_eq!(world.refusal(&subject, bad).await?, "schema", "{kind} {bad}");
        }
    }
    let lanes = json!({ "lanes": { "no.lane": "0-1" } });
    assert_eq!(world.refusal("agent.001.sync", lanes.to_string()).await?, "schema");
    for unknown in ["009", "x", "0007", "4294967295"] {
        let subject = format!("agent.{unknown}.hello");
        assert_eq!(world.refusal(&subject, hello(json!({})).to_string()).await?, "unknown-agent", "{unknown}");
    }
    assert_eq!(world.refusal("agent.001.config.bad=zz", "").await?, "bad-subject");
    assert_eq!(world.hello(&id, json!({})).await?.commands.len(), 1);

    let results = |n: usize, task: &str| {
        json!({ "ledger": "l", "results": vec![json!({ "request_id": task, "status": "success" }); n] }).to_string()
    };
    assert_eq!(world.refusal("agent.001.result", results(513, "t0-1")).await?, "too-many");
    assert_eq!(world.refusal("agent.001.result", results(1, "a.b.c")).await?, "schema");
    let good = world.ask("agent.001.result", results(1, "t0-1")).await?;
    assert_eq!(serde_json::from_slice::<Confirmed>(&good)?.confirmed, ["t0-1"]);
    assert_eq!(world.stored("RESULTS", "results.t0-1.001").await?["number"], 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_asks_too_often_slows_only_itself_down() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let (one, two) = (world.enrol(&nkey(1), "web-1").await?.id, world.enrol(&nkey(2), "web-2").await?.id);
    let receipt = json!({ "ledger": "l" }).to_string();
    let flood = (0..1000).map(|_| world.ask("agent.001.result", receipt.clone()));
    let answers = try_join_all(flood).await?;
    let refused = answers.iter().filter(|a| std::str::from_utf8(a).unwrap().contains("\"slow-down\"")).count();
    assert!((1..=900).contains(&refused), "{refused} of 1000 were refused");
    assert_eq!(world.hello(&two, json!({})).await?.commands.len(), 1);
    let again = || async { world.hello(&one, json!({})).await.ok() };
    eventually("the agent is answered again", PATIENCE, again).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_manifest_names_is_handed_out_and_what_is_found_is_kept() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let [id, other] = [world.enrol(&nkey(1), "web-1").await?.id, world.enrol(&nkey(2), "web-2").await?.id];
    let (policy, stranger) = ("policy: {}\n", "policy: {id: x}\n");
    let manifest = json!({ "version": "1", "policies": { "cis": digest(policy.as_bytes()) } }).to_string();
    for (name, body) in [("cis", policy), ("cis", stranger), ("content", manifest.as_str())] {
        world.put("sca", &format!("{name}.{}", digest(body.as_bytes())), body.to_owned()).await?;
    }
    let mut agent = world.record(&id).await?;
    let version = Stamp::new(0, 2);
    let sum = Some(digest(manifest.as_bytes()));
    let entry = Entry { version, order: Stamp::new(0, 9), task: "t0-9".into(), digest: sum, revision: None };
    agent.lanes.insert(Lane::of(Lane::SCA_CONTENT), entry);
    world.put("agents", &format!("id.{id}"), serde_json::to_vec(&Agent { version, ..agent })?).await?;
    let content = |id: &str, body: &str| format!("agent.{id}.content.{}", digest(body.as_bytes()));
    for body in [policy, &manifest] {
        let named = || async { world.ask_for::<BodyAnswer>(&content(&id, body), &json!({})).await.ok() };
        assert_eq!(eventually("the new record", PATIENCE, named).await.content, body);
        assert_eq!(world.refusal(&content(&other, body), "").await?, "not-yours");
    }
    assert_eq!(world.refusal(&content(&id, stranger), "").await?, "not-yours");

    let subject = format!("agent.{id}.findings.sca");
    let found = json!({ "policies": [] });
    assert_eq!(world.ask_for::<Value>(&subject, &found).await?, json!({ "stored": true }));
    assert_eq!(world.stored("KV_findings", &format!("$KV.findings.sca.{id}")).await?, found);
    assert_eq!(world.refusal(&subject, json!({ "policies": [{}] }).to_string()).await?, "schema");
    assert_eq!(world.refusal(&subject, vec![b' '; 256 * 1024 + 1]).await?, "too-large");
    assert_eq!(world.refusal("agent.999.findings.sca", found.to_string()).await?, "unknown-agent");
    assert_eq!(world.refusal(&format!("agent.{id}.findings.x"), found.to_string()).await?, "bad-subject");
    assert_eq!(
        world.stored("KV_findings", &format!("$KV.findings.sca.{id}")).await?,
        found,
        "what is bad replaces nothing"
    );
    for _ in 0..30 {
        world.ask(&subject, found.to_string()).await?;
    }
    assert_eq!(world.refusal(&subject, found.to_string()).await?, "slow-down");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packages_are_matched_at_the_offset_of_the_record_and_what_is_found_is_kept() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let id = world.enrol(&nkey(1), "web-1").await?.id;
    let subject = format!("agent.{id}.packages");
    assert_eq!(world.refusal(&subject, "x").await?, "not-yours");
    let mut agent = world.record(&id).await?;
    let version = Stamp::new(0, 2);
    let entry = Entry { version, order: Stamp::new(0, 9), task: "t0-9".into(), digest: None, revision: Some(42) };
    agent.lanes.insert(Lane::of(Lane::RESCAN), entry);
    world.put("agents", &format!("id.{id}"), serde_json::to_vec(&Agent { version, ..agent })?).await?;
    let code = || async { world.refusal(&subject, "x").await.ok().filter(|code| code == "unavailable").map(drop) };
    eventually("no node is there", PATIENCE, code).await;

    // A node that stands behind at first.
    let nodes = world.bus.client().clone();
    let mut asked = nodes.subscribe("node.vulnerabilities.match").await?;
    nodes.flush().await?;
    let refusal = json!({ "errors": [{ "code": "not-yet", "pointer": "", "message": "41" }] });
    let found = json!({ "offset": 42, "scanned": 1, "findings": [{ "cve": "CVE-2024-1001" }], "undetermined": [] });
    let answers = [refusal.to_string(), "rubbish".to_owned(), found.to_string()];
    let node = tokio::spawn(async move {
        for answer in answers {
            let message = asked.next().await.unwrap();
            assert_eq!(message.payload, "packed");
            assert_eq!(message.headers.unwrap().get("Muster-Offset").unwrap().as_str(), "42");
            nodes.publish(message.reply.unwrap(), answer.into()).await.unwrap();
        }
        nodes.flush().await.unwrap();
    });
    assert_eq!(world.refusal(&subject, "packed").await?, "not-yet");
    assert_eq!(world.refusal(&subject, "packed").await?, "unavailable");
    let answer: Value = serde_json::from_slice(&world.ask(&subject, "packed").await?)?;
    node.await?;
    assert!(answer["offset"] == 42 && answer["at"].is_string() && answer["findings"].is_null(), "{answer}");
    let kept = world.stored("KV_findings", &format!("$KV.findings.vulnerabilities.{id}")).await?;
    assert_eq!((&kept["findings"], &kept["at"]), (&found["findings"], &answer["at"]));
    // What a node finds, no agent says of itself.
    let own = format!("agent.{id}.findings.vulnerabilities");
    assert_eq!(world.refusal(&own, kept.to_string()).await?, "not-reported");
    assert_eq!(world.refusal(&subject, vec![0; 1_000_001]).await?, "too-large");
    for _ in 0..30 {
        world.ask(&subject, vec![0; 1_000_001]).await?;
    }
    assert_eq!(world.refusal(&subject, "packed").await?, "slow-down");
    Ok(())
}
