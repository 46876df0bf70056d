//! What has to be looked after at intervals: the floor of edge commands, deadlines and edge commands of ended tasks, stops
//! that were decided and perhaps not told.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use muster_broker::{Fault, Write, decode, encode, kv};
use muster_core::fleet::Fleet;
use muster_core::stamp::Stamp;
use muster_core::summary::Summary;
use muster_runtime::steps::{AGENTS, Context, tell_from_chain};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::deadlines;
use crate::leftovers::Leftovers;

/// How often the tasks are looked through.
const INTERVAL: Duration = Duration::from_secs(60);
/// The key of the copy that does it; it goes away when it is not renewed.
const LEASE: &str = "lease.task-manager";

pub(crate) async fn run(context: &Context, epoch: u32, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let me = nuid::next();
    loop {
        if let Err(fault) = once(context, epoch, me.as_str()).await {
            warn!(%fault, "the tasks were not looked through; trying again later");
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = context.clock.sleep(INTERVAL) => {}
        }
    }
}

async fn once(context: &Context, epoch: u32, me: &str) -> Result<(), Fault> {
    if !lease(context, me).await? {
        return Ok(());
    }
    // Before the tasks are read: whoever has set a deadline has admitted its task, so the scan sees that too.
    let deadlines = deadlines::all(context).await?;
    // Before the tasks are read: every place up to here was admitted, so the scan sees its task.
    let admitted = context.bus.acked_upto("TASKS", "task-manager").await?;
    let mut lowest = Stamp::new(epoch, admitted + 1);
    let (mut open, mut leftovers) = (BTreeSet::new(), Leftovers::default());
    let mut tasks = context.bus.scan(&kv::stream("tasks"), &kv::subject("tasks", "*")).await?;
    while let Some(entry) = tasks.next().await.transpose()? {
        let Some(body) = entry.body else { continue };
        let summary: Summary = decode("tasks", &entry.subject, &body)?;
        if !summary.state.is_end() {
            lowest = lowest.min(summary.order);
            open.insert(summary.id);
        } else if deadlines.contains(&summary.id) {
            leftovers.add(&summary);
        }
    }
    raise_floor(context, lowest).await?;
    // A deadline goes last: it says that a task is still to be looked after.
    leftovers.purge(context).await?;
    for id in deadlines.difference(&open) {
        deadlines::clear(context, id).await?;
    }
    for fleet in Fleet::ALL {
        let bucket = fleet.bucket();
        for subject in context.bus.list(&kv::stream(bucket), &kv::subject(bucket, "stop.*")).await? {
            if let Some(id) = subject.rsplit_once('.').map(|(_, id)| id).filter(|id| open.contains(*id)) {
                tell_from_chain(context, fleet, id).await?;
            }
        }
    }
    Ok(())
}

/// Whether this copy looks after the tasks: the one whose name is in the lease.
async fn lease(context: &Context, me: &str) -> Result<bool, Fault> {
    let stream = kv::stream(AGENTS);
    let entry = context.bus.get(&stream, &kv::subject(AGENTS, LEASE)).await?;
    let held = entry.as_ref().and_then(|e| e.body.as_ref());
    if held.is_some_and(|holder| holder != me.as_bytes()) {
        return Ok(false);
    }
    let revision = entry.map_or(0, |e| e.revision);
    let write = Write::put(AGENTS, LEASE, me.to_owned(), revision).ttl(INTERVAL * 2);
    match context.bus.commit(&stream, vec![write]).await {
        Ok(_) => Ok(true),
        Err(Fault::Conflict) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// The floor only rises.
async fn raise_floor(context: &Context, floor: Stamp) -> Result<(), Fault> {
    let stream = kv::stream(AGENTS);
    let entry = context.bus.get(&stream, &kv::subject(AGENTS, "floor")).await?;
    let revision = entry.as_ref().map_or(0, |e| e.revision);
    let before = entry.and_then(|e| e.body).map(|body| decode::<Stamp>(AGENTS, "floor", &body)).transpose()?;
    if before.is_some_and(|before| before >= floor) {
        return Ok(());
    }
    match context.bus.commit(&stream, vec![Write::put(AGENTS, "floor", encode(&floor)?, revision)]).await {
        Ok(_) | Err(Fault::Conflict) => Ok(()),
        Err(fault) => Err(fault),
    }
}
