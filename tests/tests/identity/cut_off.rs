//! Deleted agents are cut off, and do not conclude anything from it.

use std::time::Duration;

use anyhow::Result;
use async_nats::Event;
use muster_broker::nats::NatsLink;
use muster_broker::{Link, Pushed};
use muster_testkit::{PATIENCE, eventually};
use muster_tests::System;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::support::{Somebody, gateway, mark_gone, ready};

/// Waits until the server has closed the connection, and then has refused it.
async fn closed(events: &mut UnboundedReceiver<Event>) -> Result<()> {
    let mut disconnected = false;
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await?.expect("the connection has ended");
        disconnected |= matches!(event, Event::Disconnected);
        if disconnected && event.to_string().to_lowercase().contains("authorization violation") {
            return Ok(());
        }
    }
}

/// Whether the agent with this id answers a push.
async fn answers(system: &System, id: &str) -> Result<bool> {
    let link = NatsLink::new(system.server.agents("push").await?).await?;
    Ok(matches!(link.push(id, "{}".into(), Duration::from_secs(2)).await?, Pushed::Answered(_)))
}

async fn until_it_answers(system: &System, id: &str, wanted: bool) {
    eventually(&format!("agent {id} answers: {wanted}"), PATIENCE, || async {
        (answers(system, id).await.ok()? == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_agent_is_cut_off_and_goes_on_with_what_it_has() -> Result<()> {
    let system = gateway().await?;
    let home = tempfile::tempdir()?;
    let root = home.path().join("a1");
    let mut agent = system.agent(&root, "real-1")?;
    until_it_answers(&system, "001", true).await;
    let (other, _client, mut events) = Somebody::new().become_agent(&system, "other").await?;
    let (_, _stays, mut stays) = Somebody::new().become_agent(&system, "stays").await?;
    let files = |root: &std::path::Path| {
        let file = |name: &str| std::fs::read(root.join(name)).ok();
        (file("agent.json"), file("identity.nk"), file("agent.yml"))
    };
    let before = files(&root);

    mark_gone(&system, "001", true).await?;
    mark_gone(&system, &other, true).await?;
    closed(&mut events).await?;
    until_it_answers(&system, "001", false).await;
    let key = Somebody::of(&root)?;
    assert!(key.connect(&system, None).await.is_err(), "the key of a deleted agent");
    eventually("the agent is refused", PATIENCE, || async {
        agent.log().contains("does not let this agent in").then_some(())
    })
    .await;
    assert!(agent.is_running()?);
    assert_eq!(files(&root), before);
    assert!(stays.try_recv().is_err(), "the connection of another agent");

    // It was a mistake, say: what the agent was refused for is not what it believes.
    mark_gone(&system, "001", false).await?;
    until_it_answers(&system, "001", true).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_deleted_while_no_gateway_runs_is_cut_off_by_the_next() -> Result<()> {
    let mut system = gateway().await?;
    let mut all = Vec::new();
    // More than are asked for one by one.
    for n in 0..40 {
        all.push(Somebody::new().become_agent(&system, &format!("web-{n}")).await?);
    }
    system.kill("comms-api")?;
    let (stays, gone) = all.split_first_mut().unwrap();
    for (id, ..) in gone.iter() {
        mark_gone(&system, id, true).await?;
    }
    system.run("comms-api", &[])?;
    ready(&system, 2).await;
    for (_, _, events) in gone {
        closed(events).await?;
    }
    assert!(stays.2.try_recv().is_err());

    // The same when the server was killed in between: the watch stands again.
    system.server.kill().await?;
    system.server.restart().await?;
    ready(&system, 3).await;
    until_connected(&mut stays.2).await?;
    mark_gone(&system, &stays.0, true).await?;
    closed(&mut stays.2).await
}

async fn until_connected(events: &mut UnboundedReceiver<Event>) -> Result<()> {
    while !matches!(tokio::time::timeout(PATIENCE, events.recv()).await?, Some(Event::Connected)) {}
    Ok(())
}
