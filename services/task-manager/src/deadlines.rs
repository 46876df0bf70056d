//! Deadlines: one message schedule for each open task, a minute after its `deliver_until`.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_broker::{Fault, Write};
use muster_core::fact::Fact;
use muster_core::instant::Instant;
use muster_core::summary::{Stop, StopKind};
use muster_runtime::steps::{Context, StopOutcome, fact, stop};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The stream of schedules.
const SCHEDULE: &str = "SCHEDULE";
/// A start that was reported in time may still be on its way.
const GRACE: Duration = Duration::from_secs(60);

/// Before the id of a task in the subject of its deadline.
const AT: &str = "schedule.at.";

/// The ids of the tasks that have a deadline.
pub(crate) async fn all(context: &Context) -> Result<BTreeSet<String>, Fault> {
    let subjects = context.bus.list(SCHEDULE, &format!("{AT}*")).await?;
    Ok(subjects.iter().filter_map(|subject| subject.strip_prefix(AT)).map(str::to_owned).collect())
}

/// Sets the deadline of a task; set again, it is the same one.
pub(crate) async fn set(context: &Context, id: &str, deliver_until: Instant) -> Result<(), Fault> {
    let write = Write::new(format!("{AT}{id}"), Vec::new())
        .header("Nats-Schedule", format!("@at {}", deliver_until.plus(GRACE)))
        .header("Nats-Schedule-Target", format!("schedule.due.{id}"));
    context.bus.publish(SCHEDULE, vec![write]).await
}

/// Removes the deadline of a task that has ended.
pub(crate) async fn clear(context: &Context, id: &str) -> Result<(), Fault> {
    context.bus.purge(SCHEDULE, &format!("{AT}{id}")).await
}

/// Acts on deadlines as they come due.
pub(crate) async fn run(context: &Context, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut due = context.bus.subscribe(SCHEDULE, "task-manager", 16).await?;
    loop {
        let pulled = tokio::select! {
            () = shutdown.cancelled() => break,
            pulled = due.next(16) => pulled,
        };
        let pulled = match pulled {
            Ok(None) => break,
            Ok(Some(pulled)) => pulled,
            Err(fault) => {
                warn!(%fault, "deadlines cannot be pulled; trying again");
                context.clock.sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        for delivery in pulled {
            let id = delivery.subject.strip_prefix("schedule.due.").unwrap_or_default();
            let settled = match expire(context, id).await {
                // The message that came due stays in the stream until it is purged.
                Ok(()) => match context.bus.purge(SCHEDULE, &delivery.subject).await {
                    Ok(()) => delivery.settle.ack().await,
                    failed => failed,
                },
                Err(fault) => {
                    warn!(%fault, task = id, "the deadline will come again");
                    delivery.settle.nak(Duration::from_secs(1 << delivery.delivery.min(5))).await
                }
            };
            if let Err(fault) = settled {
                warn!(%fault, task = id, "the deadline may come again");
            }
        }
    }
    due.close().await;
    Ok(())
}

/// Nothing is decided any more, and who has not started has missed it.
async fn expire(context: &Context, id: &str) -> Result<(), Fault> {
    let reason = Stop { kind: StopKind::Expired, reason: "deliver_until has passed".into(), user: None };
    if stop(context, id, &reason).await? == StopOutcome::Stopped {
        info!(task = id, "expired");
        fact(context, id, &Fact::Expired).await?;
    }
    Ok(())
}
