//! The loop of the collector: pull, gather, write, acknowledge.

use std::time::Duration;

use muster_broker::{Delivery, Fault};
use muster_runtime::steps::Context;
use muster_runtime::{Shell, dead_letters};
use muster_telemetry::metrics;
use muster_telemetry::trace::Traced;
use tokio_util::sync::CancellationToken;

use crate::collector::Collector;
use crate::gathered::Gathered;
use crate::pace::Pace;
use crate::{inbox, measure};

/// The stream of reports and facts.
const RESULTS: &str = "RESULTS";
/// The name of the service and of its durable consumer.
const NAME: &str = "result-collector";
/// So many messages are asked for at once.
const PREFETCH: usize = 20_000;
/// At most this many messages are written in one go.
const GROUP: usize = 5_000;
/// How often the time is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often all summaries are read to find tasks that other copies have worked on.
const FIND: Duration = Duration::from_secs(300);
/// The pause after a write that failed; deliveries come again after 30 s, so it is short.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs the collector until the shutdown.
///
/// # Errors
/// When its consumer is missing.
pub async fn run(shell: Shell) -> anyhow::Result<()> {
    let service = shell.register("stores what became of tasks").await?;
    let ready = shell.ready.clone();
    collect(shell.context, shell.shutdown, move || ready.set(true)).await?;
    let _ = service.stop().await;
    Ok(())
}

/// Collects until the shutdown; what was gathered by then is written and acknowledged.
///
/// # Errors
/// When the consumer cannot be read at all.
pub async fn collect(context: Context, shutdown: CancellationToken, ready: impl FnOnce()) -> anyhow::Result<()> {
    let mut deliveries = context.bus.subscribe(RESULTS, NAME, PREFETCH).await?;
    ready();
    let clock = context.clock.clone();
    let (mut collector, mut pace) = (Collector::new(context.clone()), Pace::default());
    let (mut gathered, mut open) = (Gathered::default(), true);
    let (mut look, mut find) = (clock.now(), clock.now());
    while open && !shutdown.is_cancelled() {
        if clock.now() >= find {
            match collector.find_open().await {
                Ok(()) => find = clock.now().plus(FIND),
                Err(fault) => rest(&context, &fault).await,
            }
        }
        if clock.now() >= look {
            if let Err(fault) = collector.look_at_time().await {
                rest(&context, &fault).await;
            }
            look = clock.now().plus(TICK);
        }
        let wait = if gathered.is_empty() { look.since(clock.now()) } else { pace.wait(clock.now()) };
        if gathered.len() < GROUP {
            tokio::select! {
                // What has arrived comes first, so that a group is as large as it can be.
                biased;
                () = shutdown.cancelled() => {}
                pulled = deliveries.next(GROUP - gathered.len()) => match pulled {
                    Ok(Some(pulled)) => gathered.add(pulled, |task| collector.open(task)),
                    Ok(None) => open = false,
                    Err(fault) => rest(&context, &fault).await,
                },
                () = clock.sleep(wait) => {}
            }
        }
        let urgent = gathered.len() >= GROUP || gathered.may_end_a_task();
        if !gathered.is_empty() && (urgent || pace.wait(clock.now()).is_zero()) {
            let began = clock.now();
            match flush(&context, &mut collector, gathered.messages()).await {
                Ok(()) => gathered.clear(),
                Err(fault) => rest(&context, &fault).await,
            }
            pace.wrote(began, clock.now());
        }
    }
    deliveries.close().await;
    if let Err(fault) = flush(&context, &mut collector, gathered.messages()).await {
        tracing::warn!(%fault, messages = gathered.len(), "left to another copy");
        for message in gathered.messages() {
            let _ = message.settle.nak(Duration::ZERO).await;
        }
    }
    Ok(())
}

async fn rest(context: &Context, fault: &Fault) {
    tracing::warn!(%fault, "trying again");
    context.clock.sleep(PAUSE).await;
}

/// Stores all that the messages say, then acknowledges them. What cannot be used goes to DEAD.
async fn flush(context: &Context, collector: &mut Collector, messages: &[Delivery]) -> Result<(), Fault> {
    if messages.is_empty() {
        return Ok(());
    }
    let (works, unread) = inbox::sort(messages);
    let reports = measure::reports(&works);
    let works = works.into_iter().map(|(task, work)| (task.to_owned(), work)).collect();
    let traced = Traced::batch(NAME, RESULTS, messages.len(), messages.iter().map(|of| |name: &str| of.header(name)));
    let refused = traced.run(collector.collect(works)).await?;
    metrics::flushed(messages.len());
    for (status, count) in reports {
        metrics::results(status, count);
    }
    let mut unusable: Vec<(&Delivery, &str)> = Vec::new();
    unusable.extend(unread.iter().filter_map(|(at, reason)| Some((messages.get(*at)?, reason.as_str()))));
    for (task, reason) in &refused {
        let of = messages.iter().filter(|message| inbox::task(&message.subject) == Some(task));
        unusable.extend(of.map(|message| (message, reason.as_str())));
    }
    dead_letters(&context.bus, RESULTS, &unusable).await?;
    for message in messages {
        // An ack is handed to the connection and not answered, so one after the other costs least.
        if let Err(fault) = message.settle.ack().await {
            tracing::warn!(%fault, "not all acks were sent; those messages will come again");
            break;
        }
    }
    Ok(())
}
