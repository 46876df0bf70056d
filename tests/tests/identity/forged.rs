//! What agents may not do, tried on every kind of subject: the server refuses it, not the gateway.

use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::{Client, Event};
use futures::StreamExt;
use muster_testkit::PATIENCE;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::support::{Somebody, gateway};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Publish,
    Subscribe,
}
use Does::{Publish, Subscribe};

/// Whether the server lets it. It handles what a connection sends in order, so a second act that is surely refused
/// tells that the first was judged.
async fn is_allowed(client: &Client, events: &mut UnboundedReceiver<Event>, does: Does, subject: &str) -> Result<bool> {
    let _open = match does {
        Publish => {
            client.publish(subject.to_owned(), "".into()).await?;
            vec![]
        }
        Subscribe => vec![
            client.subscribe(subject.to_owned()).await?,
            client.queue_subscribe(subject.to_owned(), "g".to_owned()).await?,
        ],
    };
    client.publish("forbidden.to.all", "".into()).await?;
    let mut refused = false;
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await?.context("closed")?.to_string();
        if event.contains("forbidden.to.all") {
            return Ok(!refused);
        }
        assert!(event.to_lowercase().contains("violation"), "{event}");
        refused = true;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_speaks_for_itself_only() -> Result<()> {
    let system = gateway().await?;
    let (one, two) = (Somebody::new(), Somebody::new());
    let (id, client, mut events) = one.become_agent(&system, "web-1").await?;
    assert_eq!(id, "001");
    two.become_agent(&system, "web-2").await?;
    let [own, other] = [one.nkey(), two.nkey()];
    let enrol = [format!("enrol.{own}"), format!("enrol.{other}")];
    for (does, subject, allowed) in [
        (Publish, "agent.001.hello", true),
        (Publish, "agent.001.result", true),
        (Publish, "agent.001.rx.g.1", true),
        (Publish, "agent.001.command", false),
        (Publish, "agent.002.hello", false),
        (Publish, "agent.002.sync", false),
        (Publish, "agent.002.result", false),
        (Publish, "agent.002.rx.g.1", false),
        (Publish, "agent.002.command", false),
        (Publish, "agent.002.content.ab", false),
        (Publish, "agent.0010.hello", false),
        (Publish, &enrol[0], false),
        (Publish, &enrol[1], false),
        (Publish, "_INBOX.001.x", false),
        (Publish, "_INBOX.002.x", false),
        (Publish, "$JS.API.INFO", false),
        (Publish, "$JS.API.STREAM.PURGE.TASKS", false),
        (Publish, "$KV.agents.id.001", false),
        (Publish, "$SYS.REQ.USER.AUTH", false),
        (Publish, "$SYS.REQ.SERVER.PING.CONNZ", false),
        (Publish, "tasks.group-assignment", false),
        (Publish, "results.t0-1.001", false),
        (Subscribe, "agent.001.command", true),
        (Subscribe, "_INBOX.001.x", true),
        (Subscribe, "_INBOX.001.>", true),
        (Subscribe, "agent.002.command", false),
        (Subscribe, "agent.*.command", false),
        (Subscribe, "agent.001.>", false),
        (Subscribe, "agent.001.hello", false),
        (Subscribe, "agent.*.rx.>", false),
        (Subscribe, "_INBOX.002.x", false),
        (Subscribe, "_INBOX.>", false),
        (Subscribe, "enrol.*", false),
        (Subscribe, "$SYS.>", false),
        (Subscribe, ">", false),
    ] {
        assert_eq!(is_allowed(&client, &mut events, does, subject).await?, allowed, "{does:?} {subject}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_may_enrol_its_own_key_and_nothing_else() -> Result<()> {
    let system = gateway().await?;
    let (one, two) = (Somebody::new(), Somebody::new());
    let (own, other) = (one.nkey(), two.nkey());
    let (client, mut events) = one.connect_as(&system, Some(&system.token), &own).await?;
    for (does, subject, allowed) in [
        (Publish, format!("enrol.{own}"), true),
        (Publish, format!("enrol.{other}"), false),
        (Publish, "agent.001.hello".into(), false),
        (Publish, "agent.001.command".into(), false),
        (Publish, format!("_INBOX.{own}.x"), false),
        (Publish, "$JS.API.INFO".into(), false),
        (Subscribe, format!("_INBOX.{own}.x"), true),
        (Subscribe, format!("_INBOX.{other}.x"), false),
        (Subscribe, "_INBOX.>".into(), false),
        (Subscribe, "agent.001.command".into(), false),
        (Subscribe, "enrol.*".into(), false),
        (Subscribe, ">".into(), false),
    ] {
        assert_eq!(is_allowed(&client, &mut events, does, &subject).await?, allowed, "{does:?} {subject}");
    }
    // An agent that shows a token is a newcomer for that connection, not more.
    let id = one.enrol(&system, "web-1").await?.unwrap();
    let (client, mut events) = one.connect_as(&system, Some(&system.token), &own).await?;
    assert!(!is_allowed(&client, &mut events, Publish, &format!("agent.{id}.hello")).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_reply_subject_reaches_nobody() -> Result<()> {
    let system = gateway().await?;
    let (_, forger, mut forgers_events) = Somebody::new().become_agent(&system, "forger").await?;
    let (id, victim, _events) = Somebody::new().become_agent(&system, "victim").await?;
    assert_eq!(id, "002");
    let mut commands = victim.subscribe("agent.002.command").await?;
    let mut inbox = victim.subscribe("_INBOX.002.>").await?;
    let mut streams = system.client.subscribe(">").await?;
    let hello = json!({ "ledger": "l", "version": "5.0.0", "os": "linux" }).to_string();
    victim.request("agent.002.hello", hello.clone().into()).await?;
    // The answer came to that inbox too; it is not forged.
    let answer = tokio::time::timeout(PATIENCE, inbox.next()).await?.context("closed")?;
    assert!(std::str::from_utf8(&answer.payload)?.contains("sync_after"));

    let forged = [
        "_INBOX.002.x",
        "_INBOX.002.>",
        "_INBOX.x",
        "_INBOX.001",
        "_INBOX.0010.x",
        "agent.002.command",
        "agent.002.result",
        "agent.001.command",
        "agent.001.result",
        "$JS.API.STREAM.PURGE.TASKS",
        "$SYS.REQ.USER.AUTH",
        "tasks.group-assignment",
    ];
    for reply in forged {
        forger.publish_with_reply("agent.001.hello", reply, hello.clone().into()).await?;
    }
    // After those, on the same connection: when it is answered, they were judged or are about to be.
    let answer = forger.request("agent.001.sync", r#"{"ledger":"l"}"#.into()).await?;
    assert!(std::str::from_utf8(&answer.payload)?.contains("sync_after"), "{answer:?}");
    let quiet = Duration::from_millis(500);
    assert!(tokio::time::timeout(quiet, commands.next()).await.is_err());
    assert!(tokio::time::timeout(quiet, inbox.next()).await.is_err());
    system.client.publish("the.end", "".into()).await?;
    while let Some(message) = streams.next().await {
        let subject = message.subject.as_str();
        assert!(!forged.contains(&subject), "{subject}");
        if subject == "the.end" {
            break;
        }
    }
    assert!(forgers_events.try_recv().is_err());
    Ok(())
}
