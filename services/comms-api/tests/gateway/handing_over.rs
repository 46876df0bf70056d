//! Pull and push: commands on their way to agents, and what agents answer.

use std::time::Duration;

use crate::support::{World, edge, nkey, run_subject};
use anyhow::Result;
use async_nats::{Message, Subscriber};
use futures::StreamExt;
use muster_broker::{Broker, Write};
use muster_core::lane::Lane;
use muster_core::message::{Command, HandOver};
use muster_core::names::digest;
use muster_core::record::Entry;
use muster_core::stamp::Stamp;
use muster_testkit::{PATIENCE, eventually};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

/// The next push, and the hand-over in it.
async fn next(commands: &mut Subscriber) -> Result<(Message, HandOver)> {
    let message = tokio::time::timeout(PATIENCE, commands.next()).await?.unwrap();
    let over = serde_json::from_slice(&message.payload)?;
    Ok((message, over))
}

/// An agent's connection that listens for commands; it returns when the server has the subscription.
async fn listen(world: &World, id: &str) -> Result<Subscriber> {
    let commands = world.agents.subscribe(format!("agent.{id}.command")).await?;
    world.hello(id, json!({})).await?;
    Ok(commands)
}

async fn publish(world: &World, stream: &str, subject: String, command: &Command) -> Result<()> {
    Ok(world.bus.publish(stream, vec![Write::new(subject, serde_json::to_vec(command)?)]).await?)
}

fn success(task: &str, more: &Value) -> Value {
    let mut result = json!({ "request_id": task, "status": "success", "result": { "message": "done" } });
    result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "ledger": "l", "results": [result] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_answered_and_its_result_stored_and_confirmed() -> Result<()> {
    let world = World::start().await?;
    let gateway = world.gateway().await?;
    let id = world.enrol(&nkey(1), "web-1").await?.id;
    let mut commands = listen(&world, &id).await?;
    let content = "a: \"b\"\n";
    let sum = digest(content.as_bytes());
    world.put("groups", &format!("web=2eeu.{sum}"), content).await?;
    let version = Stamp::new(0, 2);
    let entry =
        Entry { version, order: Stamp::new(0, 9), task: "t0-9".into(), digest: Some(sum.clone()), revision: Some(1) };
    let command = Command { sets: [(Lane::config("web.eu"), entry)].into(), ..edge(&id, "t0-9", 9, HOUR) };
    publish(&world, "COMMANDS", format!("commands.agent.{id}.set.config=web=2eeu"), &command).await?;

    let (push, over) = next(&mut commands).await?;
    assert_eq!(
        over,
        HandOver { commands: vec![command], bodies: [(sum, content.to_owned())].into(), ..HandOver::default() }
    );
    let report = success("t0-9", &json!({ "lane": "config=web=2eeu", "version": "0-2" }));
    let reply = push.reply.unwrap();
    assert!(reply.starts_with("agent.001.rx."), "{reply}");
    world.agents.publish(reply, report.to_string().into()).await?;
    let (tell, over) = next(&mut commands).await?;
    assert_eq!((tell.reply, over), (None, HandOver { confirmed: vec!["t0-9".into()], ..HandOver::default() }));
    let stored = world.bus.get("RESULTS", "results.t0-9.001").await?.expect("what is confirmed is stored");
    let stored: Value = serde_json::from_slice(&stored.body.unwrap())?;
    assert_eq!(stored["number"], 1);
    assert_eq!(stored["result"]["message"], "done");
    world.settled("COMMANDS").await;
    gateway.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_command_that_has_ended_leaves_its_stream() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let id = world.enrol(&nkey(1), "web-1").await?.id;
    let mut commands = listen(&world, &id).await?;
    let command = edge(&id, "ar-1", 9, HOUR);
    publish(&world, "RUNS", run_subject(&command), &command).await?;
    let (push, over) = next(&mut commands).await?;
    assert_eq!(over.commands, std::slice::from_ref(&command));
    let started = json!({ "ledger": "l", "results": [{ "request_id": "ar-1", "status": "in_progress" }] });
    world.agents.publish(push.reply.unwrap(), started.to_string().into()).await?;
    let (_, over) = next(&mut commands).await?;
    assert_eq!(over.confirmed, ["ar-1"]);
    assert_eq!(world.stored("RESULTS", "starts.ar-1.001").await?["status"], "in_progress");
    assert!(world.bus.get("RUNS", &run_subject(&command)).await?.is_some());
    world.ask("agent.001.result", success("ar-1", &json!({})).to_string()).await?;
    assert_eq!(world.stored("RESULTS", "results.ar-1.001").await?["status"], "success");
    let gone = || async { world.bus.get("RUNS", &run_subject(&command)).await.ok()?.is_none().then_some(()) };
    eventually("the message is purged", PATIENCE, gone).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_away_gets_what_is_still_alive_oldest_first() -> Result<()> {
    let world = World::start().await?;
    let _gateway = world.gateway().await?;
    let id = world.enrol(&nkey(1), "web-1").await?.id;
    let mut commands: Vec<Command> = (0..300).rev().map(|n| edge(&id, &format!("ar-{n}"), 300 - n, HOUR)).collect();
    commands.push(edge(&id, "ar-expired", 400, Duration::ZERO));
    world.put("agents", "stop.ar-299", "{}").await?;
    let forgotten = edge(&id, "ar-forgotten", 0, HOUR);
    world.put("agents", "floor", "\"0-1\"").await?;
    publish(&world, "RUNS", run_subject(&forgotten), &forgotten).await?;
    for command in &commands {
        publish(&world, "RUNS", run_subject(command), command).await?;
    }
    world.settled("RUNS").await;
    let over = world.hello(&id, json!({})).await?;
    assert_eq!((over.commands.len(), over.more), (257, true), "the groups and 256 edge commands");
    // The first of all was stopped.
    assert_eq!(over.commands[1..], commands[1..257]);
    let stopped = || async { world.bus.get("RUNS", &run_subject(&commands[0])).await.ok()?.is_none().then_some(()) };
    eventually("the stopped one is purged", PATIENCE, stopped).await;
    let over = || async { world.bus.get("RUNS", &run_subject(&forgotten)).await.ok()?.is_none().then_some(()) };
    eventually("the one below the floor is purged", PATIENCE, over).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stopped_or_expired_is_not_pushed_and_what_cannot_be_read_is_parked() -> Result<()> {
    let world = World::start().await?;
    let id = "001".to_owned();
    let (stopped, expired, good) =
        (edge(&id, "stopped", 9, HOUR), edge(&id, "expired", 10, Duration::ZERO), edge(&id, "good", 12, HOUR));
    world.put("agents", "stop.stopped", "{}").await?;
    publish(&world, "RUNS", run_subject(&stopped), &stopped).await?;
    publish(&world, "RUNS", run_subject(&expired), &expired).await?;
    // The command says another agent than its subject.
    publish(&world, "RUNS", "commands.agent.002.run.good".into(), &good).await?;
    world.bus.publish("COMMANDS", vec![Write::new("commands.agent.001.set.groups", "no command")]).await?;
    publish(&world, "RUNS", run_subject(&good), &good).await?;
    let mut commands = world.agents.subscribe("agent.001.command").await?;
    let _ = world.agents.request("agent.001.nothing", "".into()).await;

    let _gateway = world.gateway().await?;
    let (_, over) = next(&mut commands).await?;
    assert_eq!(over.commands, [good]);
    world.settled("RUNS").await;
    world.settled("COMMANDS").await;
    // All was handed over that ever will be.
    let more = tokio::time::timeout(Duration::from_millis(200), commands.next()).await;
    assert!(more.is_err(), "{more:?}");
    let letter = world.stored("DEAD", "dead.runs.3").await?;
    assert_eq!(letter["subject"], "commands.agent.002.run.good");
    let letter = world.stored("DEAD", "dead.commands.1").await?;
    assert_eq!((letter["body"].as_str(), letter["stream"].as_str()), (Some("no command"), Some("COMMANDS")));
    assert!(letter["reason"].as_str().unwrap().contains("not a command"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_leaves_nothing_half_done() -> Result<()> {
    let world = World::start().await?;
    let gateway = world.gateway().await?;
    let mut commands = world.agents.subscribe("agent.*.command").await?;
    let all = (1..=500).map(|n| {
        let command = edge(&format!("{n:03}"), "rollout", 9, HOUR);
        Write::new(run_subject(&command), serde_json::to_vec(&command).unwrap())
    });
    let agents = world.agents.clone();
    // Agents that answer at once.
    let answering = tokio::spawn(async move {
        while let Some(push) = commands.next().await {
            if let Some(reply) = push.reply {
                let _ = agents.publish(reply, success("rollout", &json!({})).to_string().into()).await;
            }
        }
    });
    world.bus.publish("RUNS", all.collect()).await?;
    world.stored("RESULTS", "results.rollout.001").await?;
    gateway.stop().await?;
    // Another copy does the rest.
    let _gateway = world.gateway().await?;
    let results = || async {
        match world.bus.list("RESULTS", "results.rollout.*").await.map_err(|e| e.to_string())?.len() {
            500 => Ok(()),
            n => Err(format!("{n} results")),
        }
    };
    eventually("all results are stored", PATIENCE, results).await;
    answering.abort();
    Ok(())
}
