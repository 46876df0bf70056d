//! Step 1, admit: `tasks/<task>` is created by whoever sees the task first.

use bytes::Bytes;
use muster_broker::{Fault, Write, decode, encode, kv};
use muster_core::instant::Instant;
use muster_core::names::digest;
use muster_core::problem::{Problem, Refusal};
use muster_core::stamp::Stamp;
use muster_core::status::State;
use muster_core::summary::Summary;
use muster_core::task::{Envelope, Task, TaskType, client_id, parse_json, place_id};
use muster_telemetry::metrics;
use serde_json::Value;

use super::Context;

/// The bucket of the summaries.
pub const TASKS: &str = "tasks";

/// A message of the stream TASKS.
pub struct Arrival<'a> {
    /// The last token of its subject.
    pub kind: &'a str,
    /// Its payload.
    pub body: &'a Bytes,
    /// Its epoch and place.
    pub order: Stamp,
    /// When the server stored it.
    pub at: Instant,
}

/// What the admission came to.
pub enum Admission {
    /// The task has ended, or its message is a duplicate that was rejected: there is nothing to do.
    Done,
    /// The task goes on.
    Open {
        /// Its summary as it was created.
        summary: Box<Summary>,
        /// The task with the document it was read from, or why it cannot be read.
        task: Box<Result<(Task, Value), Refusal>>,
    },
}

/// Creates the task's summary, or finds it.
///
/// # Errors
/// [`Fault::Unavailable`].
pub async fn admit(context: &Context, arrival: &Arrival<'_>) -> Result<Admission, Fault> {
    let digest = digest(&[arrival.kind.as_bytes(), b"\n", arrival.body].concat());
    let read = read(arrival, arrival.order, arrival.at);
    let (id, summary) = match &read {
        Ok((task, _)) => (task.id.clone(), Summary::admitted(task, digest.clone())),
        Err((id, errors)) => {
            let rejected =
                Summary::rejected(id.clone(), arrival.kind, arrival.order, digest.clone(), arrival.at, errors.clone());
            // The refusal is a decision like any other: the function stores it in the chain, then it is told.
            (
                id.clone(),
                Summary { state: State::Pending, ended: None, errors: Vec::new(), recipients: None, ..rejected },
            )
        }
    };
    let stored = match create(context, &summary).await? {
        None => summary,
        Some(found) if found.digest == digest => found,
        Some(found) => return reject_duplicate(context, arrival, &id, digest, &found).await,
    };
    if stored.state.is_end() {
        return Ok(Admission::Done);
    }
    // A repeated publish is the task that was published first, with its order and its time.
    let task =
        self::read(arrival, stored.order, stored.created).map(|(task, document)| (Task { id, ..task }, document));
    Ok(Admission::Open { summary: Box::new(stored), task: Box::new(task.map_err(|(_, errors)| errors)) })
}

fn read(arrival: &Arrival<'_>, order: Stamp, at: Instant) -> Result<(Task, Value), (String, Refusal)> {
    let place = || place_id(arrival.order);
    let document = parse_json(arrival.body).map_err(|errors| (place(), errors))?;
    let id = client_id(&document).map_or_else(place, str::to_owned);
    let fail = |errors| (id.clone(), errors);
    let kind: TaskType = arrival.kind.parse().map_err(|why: String| {
        let known: Vec<&str> = TaskType::ALL.iter().map(|t| t.name()).collect();
        fail(vec![Problem::new("unknown-type", "", why).hint(format!("the types are {}", known.join(", ")))])
    })?;
    let envelope: Envelope = serde_json::from_value(document.clone())
        .map_err(|e| fail(vec![Problem::new("schema", "", format!("not a task: {e}"))]))?;
    let task = envelope.task(kind, id.clone(), order, at).map_err(&fail)?;
    Ok((task, document))
}

/// Creates a summary; or gives the one that is there.
async fn create(context: &Context, summary: &Summary) -> Result<Option<Summary>, Fault> {
    let stream = kv::stream(TASKS);
    match context.bus.commit(&stream, vec![Write::put(TASKS, &summary.id, encode(summary)?, 0)]).await {
        Ok(_) => Ok(None),
        Err(Fault::Conflict) => {
            let found = context.bus.get(&stream, &kv::subject(TASKS, &summary.id)).await?;
            let body = found.and_then(|entry| entry.body).ok_or(Fault::Conflict)?;
            decode(TASKS, &summary.id, &body).map(Some)
        }
        Err(fault) => Err(fault),
    }
}

/// The id is taken by another task: the newcomer gets an outcome under the id of its place.
async fn reject_duplicate(
    context: &Context,
    arrival: &Arrival<'_>,
    id: &str,
    digest: String,
    found: &Summary,
) -> Result<Admission, Fault> {
    let message =
        format!("the id '{id}' belongs to another task of type {}, published at {}", found.kind, found.created);
    let errors =
        vec![Problem::new("id-taken", "/id", message).hint("choose another id, or publish the same bytes again")];
    let place = place_id(arrival.order);
    let summary = Summary::rejected(place, arrival.kind, arrival.order, digest, arrival.at, errors);
    if create(context, &summary).await?.is_none() {
        // Nobody else tells of this end.
        let kind = summary.task_type().map_or("_OTHER", TaskType::name);
        metrics::task_ended(kind, summary.state.name(), context.clock.now().since(arrival.at));
    }
    Ok(Admission::Done)
}

/// The summary of a task, from the leader.
pub(super) async fn summary(context: &Context, id: &str) -> Result<Option<Summary>, Fault> {
    let entry = context.bus.get(&kv::stream(TASKS), &kv::subject(TASKS, id)).await?;
    entry.and_then(|e| e.body).map(|body| decode(TASKS, id, &body)).transpose()
}
