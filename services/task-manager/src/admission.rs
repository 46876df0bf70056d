//! Every task is admitted here too, so that it has a summary, a deadline and an end even when its function is not
//! there; and a task that no function could read is refused.

use std::time::Duration;

use muster_broker::{Delivery, Fault, Write, encode, kv};
use muster_core::chain::{Planned, Stored, key};
use muster_core::fact::Fact;
use muster_core::fleet::Fleet;
use muster_core::problem::Problem;
use muster_runtime::arrival;
use muster_runtime::steps::{Admission, Context, admit, fact};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::deadlines;

/// This many tasks are admitted at once.
const AT_ONCE: usize = 64;

pub(crate) async fn run(context: &Context, epoch: u32, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut deliveries = context.bus.subscribe("TASKS", "task-manager", AT_ONCE).await?;
    let mut working = JoinSet::new();
    loop {
        let pulled = tokio::select! {
            () = shutdown.cancelled() => break,
            pulled = deliveries.next(AT_ONCE) => pulled,
        };
        match pulled {
            Ok(None) => break,
            Ok(Some(pulled)) => {
                for delivery in pulled {
                    let context = context.clone();
                    working.spawn(async move { settle(&context, epoch, &delivery).await });
                }
                while working.len() >= AT_ONCE || working.try_join_next().is_some() {
                    if working.len() >= AT_ONCE {
                        working.join_next().await;
                    }
                }
            }
            Err(fault) => {
                warn!(%fault, "tasks cannot be pulled; trying again");
                context.clock.sleep(Duration::from_secs(1)).await;
            }
        }
    }
    deliveries.close().await;
    while working.join_next().await.is_some() {}
    Ok(())
}

async fn settle(context: &Context, epoch: u32, delivery: &Delivery) {
    let settled = match take(context, epoch, delivery).await {
        Ok(()) => delivery.settle.ack().await,
        Err(fault) => {
            warn!(%fault, place = delivery.place, "not admitted; the task will be delivered again");
            delivery.settle.nak(Duration::from_millis(250 << delivery.delivery.min(7))).await
        }
    };
    if let Err(fault) = settled {
        warn!(%fault, place = delivery.place, "not settled; the task will be delivered again");
    }
}

async fn take(context: &Context, epoch: u32, delivery: &Delivery) -> Result<(), Fault> {
    let Admission::Open { summary, task } = admit(context, &arrival(delivery, epoch)).await? else { return Ok(()) };
    match *task {
        Ok(_) => deadlines::set(context, &summary.id, summary.deliver_until).await,
        Err(errors) => refuse(context, summary.fleet(), &summary.id, errors).await,
    }
}

/// Stores and tells a refusal, unless the task's function was quicker.
async fn refuse(context: &Context, fleet: Fleet, id: &str, errors: Vec<Problem>) -> Result<(), Fault> {
    let planned = Stored::new(0, Planned::Refused { errors: errors.clone() });
    let write = Write::put(fleet.bucket(), &key::plan(id), encode(&planned)?, 0);
    match context.bus.commit(&kv::stream(fleet.bucket()), vec![write]).await {
        Ok(_) | Err(Fault::Conflict) => fact(context, id, &Fact::Refused { errors }).await,
        Err(fault) => Err(fault),
    }
}
