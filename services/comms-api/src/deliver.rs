//! Pull and push: takes commands from a stream and hands them over, once each. Whoever is not there, or does not
//! answer, gets them with its next sync.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use muster_broker::{Deliveries, Delivery, Fault, Pushed, Settle, encode};
use muster_core::message::{Action, Command, HandOver};
use muster_core::record::agent_number;
use muster_runtime::dead_letters;
use muster_telemetry::metrics;
use muster_telemetry::trace::{self, Origin, Traced};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;
use crate::{PART, farewell, hand_over, mailbox, report, stops};

/// The durable consumer in both streams.
const CONSUMER: &str = "comms-api";
/// So many messages are taken from a stream at once.
const PULLED: usize = 500;
/// How long an agent may take to answer a push.
const ANSWER: Duration = Duration::from_secs(2);
/// Before the next attempt to pull.
const PAUSE: Duration = Duration::from_millis(500);
/// After this a message that could not be handled comes again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long open pushes may take to end at a shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// Which commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Level commands.
    Commands,
    /// Edge commands. They have a window of their own: an active response does not wait behind a rollout.
    Runs,
}

impl Source {
    /// The stream.
    pub const fn stream(self) -> &'static str {
        match self {
            Self::Commands => "COMMANDS",
            Self::Runs => "RUNS",
        }
    }

    /// So many pushes are open at once; 2,000 in both together.
    const fn window(self) -> u32 {
        match self {
            Self::Commands => 1500,
            Self::Runs => 500,
        }
    }
}

/// Hands over the commands of a stream until the token is cancelled, then waits for the open pushes, a few seconds.
/// `bound` is told when it is bound to its consumer.
pub async fn deliver(gateway: Arc<Gateway>, source: Source, stop: CancellationToken, bound: impl Fn()) {
    let room = Room::of(source);
    let mut reader: Option<Box<dyn Deliveries>> = None;
    while !stop.is_cancelled() {
        let turn = async {
            let deliveries = match &mut reader {
                Some(deliveries) => deliveries,
                None => {
                    let opened = gateway.way(source).0.subscribe(source.stream(), CONSUMER, PULLED).await?;
                    bound();
                    reader.insert(opened)
                }
            };
            deliveries.next(PULLED).await
        };
        let pulled = tokio::select! { () = stop.cancelled() => break, pulled = turn => pulled };
        match pulled {
            Ok(Some(batch)) => {
                // Small tasks have a span for each push; of large ones the batch is linked to the task.
                let links = batch.iter().map(|of| move |name: &str| of.header(name).filter(|_| name == trace::LINK));
                let traced = Traced::batch(PART, source.stream(), batch.len(), links);
                traced.run(hand_over(&gateway, source, &room, batch)).await;
            }
            Ok(None) => {
                reader = None;
                gateway.context.clock.sleep(PAUSE).await;
            }
            Err(fault) => {
                tracing::warn!(stream = source.stream(), %fault, "no commands can be pulled; trying again");
                gateway.context.clock.sleep(PAUSE).await;
            }
        }
    }
    if let Some(deliveries) = reader {
        deliveries.close().await;
    }
    tokio::select! {
        () = room.empty() => {}
        () = gateway.context.clock.sleep(GRACE) => tracing::warn!("open pushes are given up; they come again"),
    }
}

/// How much is under way at once: pushes that wait for an answer, and, more of them, those whose report is not stored
/// yet.
struct Room {
    window: Arc<Semaphore>,
    open: Arc<Semaphore>,
    size: u32,
}

/// A place in both; each is given back when it is dropped.
struct Place {
    window: OwnedSemaphorePermit,
    open: OwnedSemaphorePermit,
}

impl Room {
    fn of(source: Source) -> Self {
        let size = 2 * source.window();
        let (window, open) = (Semaphore::new(source.window() as usize), Semaphore::new(size as usize));
        Self { window: Arc::new(window), open: Arc::new(open), size }
    }

    /// Waits for a place. The semaphores are never closed, so it comes.
    async fn enter(&self) -> Option<Place> {
        let open = self.open.clone().acquire_owned().await.ok()?;
        Some(Place { window: self.window.clone().acquire_owned().await.ok()?, open })
    }

    /// Waits until all have left.
    async fn empty(&self) {
        let _ = self.open.acquire_many(self.size).await;
    }
}

/// A message that is to be pushed.
struct Push {
    delivery: Delivery,
    command: Command,
}

async fn hand_over(gateway: &Arc<Gateway>, source: Source, room: &Room, batch: Vec<Delivery>) {
    let pushes = sort_out(gateway, source, batch).await;
    let lanes = pushes.iter().flat_map(|push| &push.command.sets);
    let bodies = match gateway.bodies.find(lanes).await {
        Ok(bodies) => Arc::new(bodies),
        Err(fault) => return hand_back(pushes, &fault).await,
    };
    let pushes = match source {
        Source::Commands => pushes,
        Source::Runs => match without_stopped(gateway, pushes).await {
            Ok(pushes) => pushes,
            Err((pushes, fault)) => return hand_back(pushes, &fault).await,
        },
    };
    for Push { delivery, command } in pushes {
        let Some(place) = room.enter().await else { return };
        let digests = hand_over::digests([&command]);
        let message = hand_over::bytes(HandOver::default(), std::slice::from_ref(&delivery.body), digests, &bodies);
        match message {
            Ok(message) => {
                let traced = match delivery.origin() {
                    origin @ Origin::Parent(_) => {
                        Traced::send(PART, "agent.{agent}.command", origin).task(&command.request_id)
                    }
                    origin => Traced::nothing(PART, origin),
                };
                tokio::spawn(traced.run(one(gateway.clone(), source, Handed::of(delivery, command), message, place)));
            }
            Err(fault) => hand_back(vec![Push { delivery, command }], &fault).await,
        }
    }
}

/// What is left to know of a message while its push is under way: thousands are at once, so it is small.
struct Handed {
    agent: String,
    settle: Box<dyn Settle>,
    /// The command that sees an agent off.
    farewell: Option<Box<Command>>,
}

impl Handed {
    fn of(delivery: Delivery, command: Command) -> Self {
        let agent = command.target.id.clone();
        let farewell = (command.action.name == Action::DISCONNECT).then(|| Box::new(command));
        Self { agent, settle: delivery.settle, farewell }
    }

    async fn ack(&self) {
        ack(&self.agent, self.settle.as_ref()).await;
    }

    async fn hand_back(&self, fault: &Fault) {
        tracing::warn!(agent = self.agent, %fault, "a command could not be handed over; it comes again");
        let _ = self.settle.nak(AGAIN).await;
    }
}

/// Drops what has expired and parks what cannot be read; gives the rest.
async fn sort_out(gateway: &Gateway, source: Source, batch: Vec<Delivery>) -> Vec<Push> {
    let now = gateway.context.clock.now();
    let mut pushes = Vec::with_capacity(batch.len());
    for delivery in batch {
        match mailbox::read(&delivery.subject, &delivery.body) {
            Ok(command) if command.deliver_until <= now => ack(&delivery.subject, delivery.settle.as_ref()).await,
            Ok(command) => pushes.push(Push { delivery, command }),
            Err(why) => park(gateway, source, &delivery, &why).await,
        }
    }
    pushes
}

/// Asks once for each task of the batch whether it was stopped. What is left has begun.
async fn without_stopped(gateway: &Gateway, pushes: Vec<Push>) -> Result<Vec<Push>, (Vec<Push>, Fault)> {
    let tasks: BTreeSet<String> = pushes.iter().map(|push| push.command.request_id.clone()).collect();
    let stopped = match stops::among(gateway.way(Source::Runs).0, tasks).await {
        Ok(stopped) => stopped,
        Err(fault) => return Err((pushes, fault)),
    };
    let (stopped, left): (Vec<Push>, Vec<Push>) =
        pushes.into_iter().partition(|push| stopped.contains(&push.command.request_id));
    for push in stopped {
        gateway.results.forget([push.delivery.subject.clone()]);
        ack(&push.delivery.subject, push.delivery.settle.as_ref()).await;
    }
    Ok(left)
}

/// One push, its ack, and what the agent answers.
async fn one(gateway: Arc<Gateway>, source: Source, handed: Handed, message: Bytes, place: Place) {
    let (agent, began) = (&handed.agent, Instant::now());
    let pushed = gateway.way(source).1.push(agent, message, ANSWER).await;
    let outcome = match &pushed {
        Ok(Pushed::Answered(_)) => "answered",
        Ok(Pushed::NoResponder) => "no_responder",
        Ok(Pushed::Silence) => "silence",
        Err(fault) => fault.kind(),
    };
    trace::outcome(outcome);
    metrics::pushed(source.stream(), outcome, began.elapsed());
    if let Some(command) = &handed.farewell {
        drop(place.window);
        return Box::pin(see_off(&gateway, &handed, command)).await;
    }
    match &pushed {
        Ok(_) => handed.ack().await,
        Err(Fault::Refused(why)) => {
            tracing::error!(agent, why, "a command cannot be pushed; it is left to the next sync");
            handed.ack().await;
        }
        Err(fault) => return handed.hand_back(fault).await,
    }
    let Place { window, open } = place;
    drop(window);
    if let Ok(Pushed::Answered(answer)) = pushed
        && let Err(why) = take_in(&gateway, source, agent, &answer).await
    {
        // The agent reports again at `agent.<id>.result`, where it is told what is wrong.
        tracing::warn!(agent, why, "the answer to a push was not stored");
    }
    drop(open);
}

/// Sees a deleted agent off, whether or not it was there; only then is its message done.
async fn see_off(gateway: &Gateway, handed: &Handed, command: &Command) {
    match farewell::see_off(gateway, command).await {
        Ok(()) => handed.ack().await,
        Err(fault) => handed.hand_back(&fault).await,
    }
}

/// Stores the report that answers a push, and tells the agent that it is stored.
async fn take_in(gateway: &Gateway, source: Source, agent: &str, answer: &[u8]) -> Result<(), String> {
    let number = agent_number(agent).ok_or("there is no such agent")?;
    let report = report::read(answer).map_err(|errors| errors[0].to_string())?;
    let confirmed = gateway.take_in(agent, number, report).await.map_err(|fault| fault.to_string())?;
    if confirmed.is_empty() {
        return Ok(());
    }
    let told = encode(&HandOver { confirmed, ..HandOver::default() }).map_err(|fault| fault.to_string())?;
    gateway.way(source).1.tell(agent, told).await.map_err(|fault| fault.to_string())
}

async fn ack(of: &str, settle: &dyn Settle) {
    if let Err(fault) = settle.ack().await {
        tracing::debug!(of, %fault, "an ack was not sent; the command comes again");
    }
}

async fn hand_back(pushes: Vec<Push>, fault: &Fault) {
    tracing::warn!(commands = pushes.len(), %fault, "commands could not be handed over; they come again");
    for push in pushes {
        let _ = push.delivery.settle.nak(AGAIN).await;
    }
}

/// Nothing is dropped silently: the message and the reason go to DEAD.
async fn park(gateway: &Gateway, source: Source, delivery: &Delivery, why: &str) {
    match dead_letters(&gateway.context.bus, source.stream(), &[(delivery, why)]).await {
        Ok(()) => ack(&delivery.subject, delivery.settle.as_ref()).await,
        Err(fault) => {
            tracing::warn!(%fault, "it could not be parked; it comes again");
            let _ = delivery.settle.nak(AGAIN).await;
        }
    }
}
