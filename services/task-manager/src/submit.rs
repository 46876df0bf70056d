//! `task.submit.<type>`: checks a task at once and publishes it.

use std::collections::HashMap;

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use muster_broker::{decode, kv};
use muster_core::names::digest;
use muster_core::problem::Problem;
use muster_core::stamp::Stamp;
use muster_core::summary::Summary;
use muster_core::task::{TaskType, client_id, parse_json, place_id};
use muster_runtime::reply::{Answer, Error};
use muster_runtime::{Definition, Shell};
use muster_telemetry::trace::{Origin, Traced};
use serde_json::json;

use crate::guard;
use crate::questions::Context;

/// The task-manager's name in traces.
pub(crate) const PART: &str = "task-manager";

/// What a submission needs: the schemas of all types, and the stream.
pub(crate) struct Submit {
    definitions: HashMap<TaskType, Definition>,
    stream: jetstream::Context,
}

impl Submit {
    pub(crate) fn new(shell: &Shell) -> anyhow::Result<Self> {
        let definitions = muster_functions::ALL.iter().map(|f| Ok((f.kind, (f.define)()?)));
        Ok(Self {
            definitions: definitions.collect::<anyhow::Result<_>>()?,
            stream: jetstream::new(shell.client.clone()),
        })
    }
}

/// Publishes in the current trace, or begins one. Answers with the id under which the task goes on, or with its errors and nothing published.
pub(crate) async fn submit(context: &Context, subject: &str, body: &Bytes) -> Answer {
    let kind = subject.rsplit('.').next().unwrap_or_default();
    let refused = |errors| Error::Refused(400, errors);
    let known: TaskType = kind.parse().map_err(|why: String| {
        let names: Vec<&str> = context.submit.definitions.keys().map(|t| t.name()).collect();
        refused(vec![Problem::new("unknown-type", "", why).hint(format!("the types are {}", names.join(", ")))])
    })?;
    let document = parse_json(body).map_err(refused)?;
    let Some(definition) = context.submit.definitions.get(&known) else {
        return Err(refused(vec![Problem::new("unknown-type", "", format!("no function carries out {known} yet"))]));
    };
    let problems = definition.problems(&document);
    if !problems.is_empty() {
        return Err(refused(problems));
    }
    guard::check(context, known, &document).await?;
    if let Some(id) = client_id(&document) {
        let digest = digest(&[kind.as_bytes(), b"\n", body].concat());
        let found = context.steps.bus.get(&kv::stream("tasks"), &kv::subject("tasks", id)).await?;
        if let Some(body) = found.and_then(|entry| entry.body) {
            let summary: Summary = decode("tasks", id, &body)?;
            if summary.digest != digest {
                let message = format!("the id '{id}' belongs to another task of type {}", summary.kind);
                return Err(Error::Refused(409, vec![Problem::new("id-taken", "/id", message)]));
            }
        }
    }
    let subject = format!("tasks.{kind}");
    let traced = Traced::send(PART, subject.clone(), Origin::current());
    let publish = async {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = Origin::current().header() {
            headers.insert(name, value);
        }
        context.submit.stream.publish_with_headers(subject, headers, body.clone()).await?.await
    };
    let stored = traced.run(publish).await;
    let stored = stored.map_err(|e| {
        let problem = Problem::new("unavailable", "", format!("the task was not stored: {e}"));
        Error::Refused(503, vec![problem.hint("submit it again; with an id of your own it is done once at most")])
    })?;
    let order = Stamp::new(context.epoch, stored.sequence);
    let id = client_id(&document).map_or_else(|| place_id(order), str::to_owned);
    Ok(json!({ "id": id, "order": order }))
}
