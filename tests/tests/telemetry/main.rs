//! What a collector of OpenTelemetry is told about tasks: their traces, and what is counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss, missing_docs)]

mod collector;

use std::collections::HashSet;

use anyhow::Result;
use async_nats::{HeaderMap, jetstream};
use collector::{Collector, Span};
use muster_core::status::State;
use muster_testkit::{PATIENCE, Signal, eventually};
use muster_tests::{COMPONENTS, System};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

const SMALL: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const LARGE: &str = "5bf92f3577b34da6a3ce929d0e0e4737";
/// The span in which the publisher was.
const PUBLISHER: &str = "00f067aa0ba902b7";
const FLEET: u32 = 200;

/// Publishes a task as a part of a trace.
async fn publish(system: &System, trace: &str, task: &Value) -> Result<String> {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{trace}-{PUBLISHER}-01"));
    let stream = jetstream::new(system.client.clone());
    let body = task.to_string().into();
    let stored = stream.publish_with_headers("tasks.group-assignment", headers, body).await?.await?;
    Ok(format!("t0-{}", stored.sequence))
}

fn assignment(operation: &str, target: Value) -> Value {
    json!({ "target": target, "args": { "operation": operation, "groups": ["web"] } })
}

/// Waits for so many spans.
async fn spans(collector: &Collector, what: &str, count: usize, wanted: impl Fn(&Span) -> bool) -> Vec<Span> {
    eventually(what, PATIENCE, || async {
        let found: Vec<Span> = collector.spans().into_iter().filter(&wanted).collect();
        if found.len() >= count { Ok(found) } else { Err(format!("{} of {count}", found.len())) }
    })
    .await
}

/// Numbers of three digits or more, as agents' ids are, and names of agents.
fn names_an_agent(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| word.len() >= 3 && word.bytes().all(|b| b.is_ascii_digit())) || text.contains("web-")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_followed_from_its_publish_to_its_results_and_counted() -> Result<()> {
    let collector = Collector::start().await?;
    let mut system = System::empty().await?;
    system.env = collector.variables();
    for component in COMPONENTS {
        system.run(component, &[])?;
    }
    let fleet = system.fleet(FLEET).await?;
    let home = tempfile::tempdir()?;
    let mut agents =
        vec![system.agent(&home.path().join("a1"), "web-1")?, system.agent(&home.path().join("a2"), "web-2")?];
    let ids = [system.enrolled("web-1").await, system.enrolled("web-2").await];
    let group = system.make_group("web", "agent:\n  queue_size: 1009\n").await?;

    // A small task is one trace from the publisher's span down to the agents.
    let task = publish(&system, SMALL, &assignment("assign", json!({ "type": "agent", "id": ids }))).await?;
    assert_eq!(system.ended(&task).await.counts.success, 2);
    let of = |scope: &'static str| move |span: &Span| span.trace == SMALL && span.scope == scope;
    let function = spans(&collector, "the function's spans", 4, of("group-assignment")).await;
    let processed = function.iter().find(|span| span.name == "process tasks.group-assignment").expect("a process span");
    assert_eq!((processed.parent.as_str(), processed.kind), (PUBLISHER, SpanKind::Consumer));
    assert_eq!(processed.service, "group-assignment");
    assert_eq!(processed.attributes["messaging.message.conversation_id"], task);
    let published = function.iter().find(|span| span.name == "publish COMMANDS").expect("a publish span");
    assert_eq!((published.parent.as_str(), published.kind), (processed.id.as_str(), SpanKind::Producer));
    assert_eq!(published.attributes["messaging.batch.message_count"], "2");
    for step in ["plan", "freeze", "decide"] {
        assert!(function.iter().any(|span| span.name == step && span.parent == processed.id), "{step}: {function:?}");
    }
    let pushed = spans(&collector, "the gateway's spans", 2, of("comms-api")).await;
    assert!(
        pushed.iter().all(|span| span.parent == published.id && span.attributes["muster.push.outcome"] == "answered")
    );
    let worked = spans(&collector, "the agents' spans", 2, of("agent")).await;
    let parents: HashSet<&str> = worked.iter().map(|span| span.parent.as_str()).collect();
    assert_eq!(parents, pushed.iter().map(|span| span.id.as_str()).collect());
    let linked = |trace: &'static str, scope: &'static str| {
        move |span: &Span| span.scope == scope && span.links.iter().any(|link| link == trace)
    };
    spans(&collector, "the collector's span", 1, linked(SMALL, "result-collector")).await;

    // What is submitted begins a trace.
    let submitted = system
        .ask("task.submit.group-assignment", &assignment("unassign", json!({ "type": "agent", "id": ids })))
        .await?;
    let submitted = submitted["id"].as_str().expect("an id").to_owned();
    assert_eq!(system.ended(&submitted).await.counts.success, 2);
    let first = spans(&collector, "the submission's span", 1, |span| span.scope == "task-manager").await.remove(0);
    assert_eq!((first.name.as_str(), first.parent.as_str()), ("publish tasks.group-assignment", ""));
    let follows = |span: &Span| span.parent == first.id && span.scope == "group-assignment";
    let processed = spans(&collector, "the function's span of it", 1, follows).await.remove(0);
    assert_eq!(
        (processed.trace, &processed.attributes["messaging.message.conversation_id"]),
        (first.trace, &submitted)
    );

    // A large one is not: its recipients' work is linked to it.
    let task = publish(&system, LARGE, &assignment("assign", json!({ "type": "all" }))).await?;
    let done = system.ended(&task).await;
    assert_eq!((done.state, done.counts.success), (State::Succeeded, u64::from(FLEET) + 2));
    spans(&collector, "the function's spans of a large task", 4, |span| {
        span.trace == LARGE && span.scope == "group-assignment"
    })
    .await;
    spans(&collector, "the gateway's linked span", 1, linked(LARGE, "comms-api")).await;
    let alone = spans(&collector, "the agents' linked spans", 2, linked(LARGE, "agent")).await;
    assert!(alone.iter().all(|span| span.parent.is_empty() && span.trace != LARGE), "{alone:?}");
    assert_ne!(alone[0].trace, alone[1].trace);
    spans(&collector, "the collector's linked span", 1, linked(LARGE, "result-collector")).await;

    // The end of a process sends what is left.
    for agent in &mut agents {
        agent.signal(Signal::TERM)?;
        agent.wait_exit(PATIENCE).await?;
    }
    for component in COMPONENTS {
        for process in system.copies(component) {
            process.signal(Signal::TERM)?;
            assert!(process.wait_exit(PATIENCE).await?.success(), "{component}: {}", process.log());
        }
    }
    drop(fleet);
    let spans = collector.spans();
    let large: Vec<&Span> = spans.iter().filter(|span| span.trace == LARGE).collect();
    assert!(
        large.iter().all(|span| span.scope == "group-assignment") && large.len() < 20,
        "{}: {large:?}",
        large.len()
    );
    counted(&collector, group.counts.total() as f64);
    no_agent_is_named(&collector, &spans, &task);
    Ok(())
}

/// Four tasks: one configuration of a group, three assignments to 2, 2 and all agents.
fn counted(collector: &Collector, configured: f64) {
    let (kind, all) = (("muster.task.type", "group-assignment"), f64::from(FLEET) + 2.0);
    let succeeded = ("muster.task.state", "succeeded");
    let of = |name: &str, attributes: &[(&str, &str)]| collector.total(name, attributes);
    for name in ["muster.tasks.ended", "muster.task.duration"] {
        assert_eq!(of(name, &[kind, succeeded]).value, 3.0, "{name}");
        assert_eq!(of(name, &[("muster.task.type", "group-configuration"), succeeded]).value, 1.0, "{name}");
        assert_eq!(of(name, &[]).value, 4.0, "{name}: no other types and states");
    }
    assert_eq!(configured, 0.0, "the group was new");
    assert_eq!(of("muster.commands.published", &[]).value, all + 4.0);
    assert_eq!(of("muster.task.decision.duration", &[kind]).value, 3.0);
    assert_eq!(of("muster.task.first_result.duration", &[kind]).value, 3.0);
    let ended = of("muster.task.duration", &[kind]).sum;
    assert!(of("muster.task.first_result.duration", &[kind]).sum <= ended && ended > 0.0);
    // A report may come twice, and an agent reports also what came with its groups.
    assert!(of("muster.results.collected", &[("muster.result.status", "success")]).value >= all + 4.0);
    assert_eq!(of("muster.results.collected", &[("muster.result.status", "failure")]).value, 0.0);
    let commands = ("messaging.destination.name", "COMMANDS");
    assert!(of("muster.push.duration", &[commands, ("muster.push.outcome", "answered")]).value >= 2.0);
    assert!(of("muster.push.duration", &[commands]).value >= all + 4.0);
    assert_eq!(of("muster.pushes.open", &[]).value, 0.0);
    for consumer in ["group-assignment", "comms-api", "result-collector", "task-manager"] {
        let consumer = [("messaging.consumer.group.name", consumer)];
        assert!(of("messaging.client.consumed.messages", &consumer).value >= 3.0);
        assert!(of("muster.consumer.redeliveries", &consumer).value >= 0.0);
        assert_eq!(of("muster.consumer.lag", &consumer).value, 0.0, "{consumer:?}");
    }
    // Each command was stored, by itself or in a batch; a page has one batch.
    let stored = of("muster.commit.messages", &[commands]);
    assert_eq!((stored.sum, stored.value), (all + 4.0, 5.0), "four single ones and a batch");
    let flushes = of("muster.collector.flush.messages", &[]);
    assert!(flushes.sum >= all + 4.0 && flushes.value < flushes.sum, "{flushes:?}");
    let units = [
        ("muster.tasks.ended", "{task}"),
        ("muster.commands.published", "{command}"),
        ("muster.results.collected", "{result}"),
        ("muster.task.duration", "s"),
        ("muster.task.decision.duration", "s"),
        ("muster.task.first_result.duration", "s"),
        ("muster.push.duration", "s"),
        ("muster.pushes.open", "{push}"),
        ("messaging.client.consumed.messages", "{message}"),
        ("muster.consumer.lag", "{message}"),
        ("muster.consumer.redeliveries", "{message}"),
        ("muster.commit.messages", "{message}"),
        ("muster.collector.flush.messages", "{message}"),
    ];
    let page = include_str!("../../../docs/telemetry.md");
    for (name, unit) in units {
        assert_eq!(of(name, &[]).unit, unit, "{name}");
        assert!(page.contains(&format!("| `{name}` | ")) && page.contains(&format!("`{unit}`")), "{name} in the docs");
    }
    let known: HashSet<&str> = units.iter().map(|(name, _)| *name).collect();
    for series in collector.series() {
        assert!(known.contains(series.name.as_str()), "{} is neither tested nor in the docs", series.name);
    }
}

fn no_agent_is_named(collector: &Collector, spans: &[Span], task: &str) {
    assert!(names_an_agent("commands.agent.007.set.groups") && names_an_agent("t0-9:007") && names_an_agent("v-00012"));
    let values = collector.values_of_metrics();
    assert!(values.len() > 100);
    for (name, value) in values {
        assert!(!names_an_agent(&value) && !value.contains("t0-") && value != task, "{name} = {value}");
    }
    for span in spans {
        assert!(!names_an_agent(&span.name), "{span:?}");
        for (name, value) in &span.attributes {
            // A count is a number too, and a task has an id.
            let free = ["messaging.batch.message_count", "messaging.message.conversation_id"].contains(&name.as_str());
            assert!(free || !names_an_agent(value), "{name} = {value} in {span:?}");
        }
    }
}
