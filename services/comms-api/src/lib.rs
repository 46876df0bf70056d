//! The agents' gateway. It takes commands from COMMANDS and RUNS, attaches the contents, pushes them, and answers what
//! agents ask: enrolment, hello, sync, reports, contents. Any number of copies work side by side.
//!
//! [`Gateway`] and [`deliver`] know the world by the traits of `muster_broker` alone; [`serve`] is the thin shell that
//! listens on NATS.

mod bodies;
mod deliver;
mod enrol;
mod farewell;
mod findings;
mod floor;
mod gateway;
mod gather;
mod hand_over;
mod heard;
mod identity;
mod mailbox;
mod nodes;
mod pace;
mod packages;
mod proven;
mod recent;
mod records;
mod refusal;
mod reply;
mod report;
mod request;
mod results;
mod scan;
mod serve;
mod stops;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use muster_broker::nats::{NatsBroker, NatsLink, connect};
use muster_keys::Key;
use muster_runtime::Shell;

use crate::identity::Identity;

pub use deliver::{Source, deliver};
pub use gateway::{Gateway, Settings};
pub use identity::{Connections, CutOff};
pub use nodes::{NatsNodes, Nodes};
pub use request::{Asks, Request};
pub use serve::serve;

/// Its name in traces.
const PART: &str = "comms-api";
/// Seconds between an agent's syncs, unless `MUSTER_SYNC_INTERVAL` says otherwise.
const SYNC_INTERVAL: u64 = 300;

/// Runs the gateway until the shell's shutdown: it stops pulling, lets open pushes and requests end, stores what was
/// reported, and returns.
///
/// # Errors
/// When one of the gateway's users has no seed or cannot connect, or `MUSTER_SYNC_INTERVAL` is no number of seconds.
pub async fn run(shell: Shell) -> anyhow::Result<()> {
    let settings = Settings { sync_interval: sync_interval()?, epoch: shell.epoch };
    let identity = Identity::new(shell.connection.keys(), &shell.context)?;
    let push = connect(&shell.connection.as_user(Key::Push)?).await?;
    let answer = connect(&shell.connection.as_user(Key::Answer)?).await?;
    let callout = connect(&shell.connection.as_user(Key::Gateway)?).await?;
    let kicker = connect(&shell.connection.as_user(Key::Kicker)?).await?;
    let express = (connect(&shell.connection).await?, connect(&shell.connection.as_user(Key::Push)?).await?);
    let link = Arc::new(NatsLink::new(push.clone()).await?);
    let nodes = Arc::new(NatsNodes(shell.client.clone()));
    let gateway = Arc::new(Gateway::start(&shell.context, link, nodes, settings));
    let service = shell.register("hands commands to agents and takes their reports").await?;

    let cut_off = CutOff::start(Arc::new(kicker), shell.context.clock.clone(), shell.shutdown.clone());
    gateway.cuts_off(cut_off.clone());
    gateway.express(Arc::new(NatsBroker::new(express.0)), Arc::new(NatsLink::new(express.1.clone()).await?));

    // Ready when all four are bound; one that binds again later changes nothing.
    let bound = AtomicU8::new(0);
    let binds = |part: u8| {
        let before = bound.fetch_or(part, Ordering::Relaxed);
        shell.ready.set(before | part == 0b1111);
    };
    let deliver = |source, part| deliver(gateway.clone(), source, shell.shutdown.clone(), move || binds(part));
    let (_, _, served, answered, ()) = tokio::join!(
        deliver(Source::Commands, 0b001),
        deliver(Source::Runs, 0b010),
        serve(answer, gateway.clone(), shell.shutdown.clone(), || binds(0b100)),
        identity::answer_all(callout, identity, shell.shutdown.clone(), || binds(0b1000)),
        identity::watch(shell.client.clone(), cut_off, shell.shutdown.clone()),
    );
    gateway.close().await;
    for client in [push, express.1] {
        client.flush().await.context("the last messages to agents were not sent")?;
    }
    let _ = service.stop().await;
    served.and(answered)
}

fn sync_interval() -> anyhow::Result<Duration> {
    let seconds = match std::env::var("MUSTER_SYNC_INTERVAL") {
        Ok(text) => text.parse().with_context(|| format!("MUSTER_SYNC_INTERVAL is no number of seconds: '{text}'"))?,
        Err(_) => SYNC_INTERVAL,
    };
    Ok(Duration::from_secs(seconds))
}
