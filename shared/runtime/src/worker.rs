//! The loop of a function: pull a task, carry it through the steps, settle its message.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use muster_broker::{Delivery, Fault};
use muster_core::function::Bound;
use muster_core::problem::Refusal;
use muster_core::stamp::Stamp;
use muster_core::summary::{Stop, StopKind};
use muster_core::task::Task;
use muster_telemetry::trace::{self, Origin, PARENT, Traced};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::steps::{self, Admission, Arrival, Chain, Context, Job, Progress};
use crate::{Definition, dead_letters};

/// This many deliveries without a new decision park a task.
const PATIENCE: u64 = 10;
/// The pause before a task that was refused by the broker, or made its function panic, comes again.
const SHORT: Duration = Duration::from_millis(200);
/// The stream of tasks.
const TASKS: &str = "TASKS";

/// Pulls and carries out tasks until the shutdown; then it finishes or hands back what it has.
///
/// # Errors
/// When the function's consumer cannot be read at all.
pub async fn work(
    definition: Arc<Definition>,
    context: Context,
    epoch: u32,
    at_once: usize,
    shutdown: CancellationToken,
    ready: impl Fn(bool),
) -> anyhow::Result<()> {
    let name = definition.kind.name();
    let mut deliveries = context.bus.subscribe(TASKS, name, at_once).await?;
    ready(true);
    let (mut working, busy) = (JoinSet::new(), Busy::default());
    loop {
        while working.len() >= at_once {
            working.join_next().await;
        }
        let pulled = tokio::select! {
            () = shutdown.cancelled() => break,
            pulled = deliveries.next(at_once - working.len()) => pulled,
        };
        let pulled = match pulled {
            Ok(Some(pulled)) => pulled,
            Ok(None) => break,
            Err(fault) => {
                warn!(%fault, "tasks cannot be pulled; trying again");
                context.clock.sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        for delivery in pulled {
            let (definition, context) = (definition.clone(), context.clone());
            let seat = busy.enter(delivery.place, delivery.delivery);
            let span =
                info_span!("task", subject = delivery.subject, place = delivery.place, task = tracing::field::Empty);
            let traced = Traced::process(name, format!("tasks.{name}"), Origin::parent(delivery.header(PARENT)));
            let settled = async move { settle(&definition, &context, epoch, &delivery, seat.as_ref()).await };
            working.spawn(traced.run(settled).instrument(span));
        }
    }
    deliveries.close().await;
    // What is being worked on is carried to its end; what takes longer than the grace comes again by redelivery.
    let grace = context.clock.sleep(Duration::from_secs(20));
    tokio::select! {
        () = async { while working.join_next().await.is_some() {} } => {}
        () = grace => warn!(left = working.len(), "tasks are handed back to another copy"),
    }
    Ok(())
}

/// Carries one message to an ack, a nak or the dead letters.
async fn settle(definition: &Definition, context: &Context, epoch: u32, delivery: &Delivery, seat: Option<&Seat>) {
    let done = AssertUnwindSafe(carry(definition, context, epoch, delivery, seat)).catch_unwind().await;
    let why = match done {
        Ok(Ok(Carried::Elsewhere)) => return,
        Ok(Ok(Carried::Done)) => {
            if let Err(fault) = delivery.settle.ack().await {
                warn!(%fault, "the ack was not sent; the task will be delivered again");
            }
            return;
        }
        Ok(Ok(Carried::Stuck(why))) => why,
        Ok(Err(fault)) => {
            trace::failed(fault.kind());
            warn!(%fault, delivery = delivery.delivery, "not done; the task will be delivered again");
            // What is refused will be refused again; what was not available may be in a while.
            let pause = if matches!(fault, Fault::Refused(_)) { SHORT } else { growing(delivery) };
            hand_back(delivery, pause).await;
            return;
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            error!(panic = text.unwrap_or("unknown"), "the function panicked; the task will be delivered again");
            trace::failed("panic");
            hand_back(delivery, SHORT).await;
            return;
        }
    };
    match park(context, epoch, delivery, &why).await {
        Ok(()) => {
            trace::failed("parked");
            error!(why, "the task is parked");
            let _ = delivery.settle.ack().await;
        }
        Err(fault) => {
            warn!(%fault, "the task could not be parked; trying again");
            hand_back(delivery, growing(delivery)).await;
        }
    }
}

/// A pause that doubles with each delivery, up to half a minute.
fn growing(delivery: &Delivery) -> Duration {
    Duration::from_millis(250 << delivery.delivery.min(7))
}

async fn hand_back(delivery: &Delivery, pause: Duration) {
    if let Err(fault) = delivery.settle.nak(pause).await {
        warn!(%fault, "the task will be delivered again when its time is up");
    }
}

enum Carried {
    Done,
    /// This process works on it already; whether that comes to an end, the next delivery will see.
    Elsewhere,
    /// It does not come on; why.
    Stuck(String),
}

async fn carry(
    definition: &Definition,
    context: &Context,
    epoch: u32,
    delivery: &Delivery,
    seat: Option<&Seat>,
) -> Result<Carried, Fault> {
    let arrival = arrival(delivery, epoch);
    let Admission::Open { summary, task } = steps::admit(context, &arrival).await? else { return Ok(Carried::Done) };
    tracing::Span::current().record("task", &summary.id);
    trace::task(&summary.id);
    // At the first delivery there is hardly ever a decision. If there is, the plan's batch meets it and it is read then.
    let chain = match delivery.delivery {
        1 => Chain::default(),
        _ => Chain::load(context, summary.fleet(), &summary.id).await?,
    };
    if delivery.delivery > chain.delivery.saturating_add(PATIENCE) {
        return Ok(Carried::Stuck(format!("{} deliveries without a new decision", delivery.delivery - chain.delivery)));
    }
    let Some(seat) = seat else { return Ok(Carried::Elsewhere) };
    let (task, bound) = match *task {
        Ok((task, document)) => {
            let bound = bind(definition, &task, &document);
            (task, bound)
        }
        Err(errors) => (unread(&summary, definition), Err(errors)),
    };
    let progress = Delivered(delivery, seat);
    let bound = bound.as_deref().map_err(Clone::clone);
    steps::advance(&Job { context, task: &task, bound, delivery: delivery.delivery, progress: &progress }, chain)
        .await?;
    info!(task = task.id, "carried out");
    Ok(Carried::Done)
}

/// A message of TASKS as the admission sees it.
pub fn arrival(delivery: &Delivery, epoch: u32) -> Arrival<'_> {
    Arrival {
        kind: delivery.subject.strip_prefix("tasks.").unwrap_or(&delivery.subject),
        body: &delivery.body,
        order: Stamp::new(epoch, delivery.place),
        at: delivery.at,
    }
}

/// Checks a task against the function's schema and binds it.
pub(crate) fn bind(definition: &Definition, task: &Task, document: &Value) -> Result<Box<dyn Bound>, Refusal> {
    match definition.problems(document) {
        problems if problems.is_empty() => definition.bind(task),
        problems => Err(problems),
    }
}

/// A task whose payload cannot be read: enough of it to store and tell the refusal.
fn unread(summary: &muster_core::summary::Summary, definition: &Definition) -> Task {
    Task {
        id: summary.id.clone(),
        kind: definition.kind,
        order: summary.order,
        target: None,
        args: Value::Null,
        source: None,
        user: None,
        timeout: definition.kind.timeout(),
        published: summary.created,
        deliver_until: summary.deliver_until,
        retry: None,
    }
}

/// The messages that this process works on, by their places, each with its newest delivery. One that comes again
/// meanwhile, because a step takes long, is not worked on twice: that would only take longer. Its delivery counts for
/// the decisions that are made from then on, or a task that comes on slowly would be parked as one that does not.
#[derive(Clone, Default)]
struct Busy(Arc<Mutex<HashMap<u64, Arc<AtomicU64>>>>);

impl Busy {
    /// The right to work on the message; none when somebody does.
    fn enter(&self, place: u64, delivery: u64) -> Option<Seat> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = places.get(&place) {
            newest.fetch_max(delivery, Ordering::Relaxed);
            return None;
        }
        let newest = Arc::new(AtomicU64::new(delivery));
        places.insert(place, newest.clone());
        Some(Seat { busy: self.clone(), place, newest })
    }
}

/// The right to work on a message, until it is dropped.
struct Seat {
    busy: Busy,
    place: u64,
    newest: Arc<AtomicU64>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.busy.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

struct Delivered<'a>(&'a Delivery, &'a Seat);

#[async_trait]
impl Progress for Delivered<'_> {
    async fn decided(&self) {
        // A lost one costs a redelivery, which finds the decision.
        let _ = self.0.settle.progress().await;
    }

    fn newest(&self) -> u64 {
        self.1.newest.load(Ordering::Relaxed)
    }
}

/// Nothing is dropped silently: the message and the reason go to DEAD, then the task is stopped.
async fn park(context: &Context, epoch: u32, delivery: &Delivery, why: &str) -> Result<(), Fault> {
    dead_letters(&context.bus, TASKS, &[(delivery, why)]).await?;
    if let Admission::Open { summary, .. } = steps::admit(context, &arrival(delivery, epoch)).await? {
        let reason = format!("parked: {why}; the message is in DEAD at dead.tasks.{}", delivery.place);
        steps::stop(context, &summary.id, &Stop { kind: StopKind::Parked, reason, user: None }).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_that_comes_again_is_worked_on_once_and_its_delivery_counts() {
        let busy = Busy::default();
        let first = busy.enter(7, 1).unwrap();
        assert!(busy.enter(7, 2).is_none() && busy.enter(7, 3).is_none());
        assert_eq!(first.newest.load(Ordering::Relaxed), 3);
        let other = busy.enter(8, 1).unwrap();
        assert_eq!(other.newest.load(Ordering::Relaxed), 1);
        drop(first);
        assert_eq!(busy.enter(7, 4).unwrap().newest.load(Ordering::Relaxed), 4);
    }
}
