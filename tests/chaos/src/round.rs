//! One round: load and faults at once, then quiet, then the check.

use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use muster_checker::{World, check};
use serde_json::Value;
use tokio::time::sleep;

use crate::faults::Faults;
use crate::load::{Load, Published};
use crate::names::{AGENTS, NODES, RAN};
use crate::site::Site;
use crate::timeline::Timeline;
use crate::{Options, Round};

/// How long the last task may take to end after the last fault, beside a moment for each agent.
const PATIENCE: Duration = Duration::from_secs(120);
/// After this the task-manager has looked for deadlines of ended tasks, though a copy was killed that had the lease.
const DEADLINES: Duration = Duration::from_secs(190);

/// Carries out the round with this number.
pub(crate) async fn round(site: &mut Site, options: &Options, n: u32) -> Result<Round> {
    let (timeline, began) = (Timeline::start(), Instant::now());
    let mut dice = Rng::with_seed(options.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(n)));
    let load = Load {
        dice: dice.fork(),
        client: site.system.server.control().await?,
        timeline: timeline.clone(),
        round: n,
        numbers: site.numbers.clone(),
        real: site.real.clone(),
    };
    let publishing = tokio::spawn(load.run(options.tasks, options.load));
    let mut faults = Faults::new(site, dice.fork(), timeline.clone());
    faults.run(options.load).await?;
    let done = faults.done;
    let published = publishing.await??;
    timeline.say(format!("all is published and running; {} were to be started again", site.revive()?));
    let ids: Vec<String> = published.tasks.iter().map(|(id, _)| id.clone()).collect();
    let patience = PATIENCE + Duration::from_millis(20) * options.agents;
    let waiting = Instant::now();
    let all = site.ended(&ids, patience).await?;
    timeline.say(if all { "all tasks have ended" } else { "some tasks have not ended" });
    let ended_after = waiting.elapsed();
    // Time for a sync of each agent, and for what it reports then.
    sleep(site.sync.mul_f64(1.5) + Duration::from_secs(4)).await;
    let empty = site.mailboxes_empty(patience).await;
    timeline.say(if empty { "no edge command waits" } else { "some edge commands wait" });
    if options.deadlines {
        sleep(DEADLINES.saturating_sub(waiting.elapsed())).await;
    }
    let checking = Instant::now();
    let world = look(site, published, options.deadlines).await?;
    let violations = check(&world);
    site.revive()?;
    Ok(Round {
        n,
        faults: done,
        states: count(world.tasks.values().filter_map(|task| text(task.summary.as_ref()?, "state"))),
        types: count(world.tasks.values().map(|task| task.kind.clone())),
        statuses: statuses(&world),
        edges: world.accounts.values().flat_map(|account| account.ran.iter().flatten()).map(|(_, n)| *n).sum(),
        agents: world.accounts.len(),
        validated: world.validated,
        seconds: began.elapsed().as_secs_f64(),
        ended_after_s: ended_after.as_secs_f64(),
        check_s: checking.elapsed().as_secs_f64(),
        timeline: timeline.lines(),
        violations: violations.iter().map(ToString::to_string).collect(),
    })
}

/// The whole system as it is now, in the eyes of the checker.
async fn look(site: &mut Site, published: Published, deadlines: bool) -> Result<World> {
    let report = site.fleet_accounts().await?;
    let mut world = site.reader.world(deadlines).await?;
    site.pause_recipients().await?;
    world.cancelled = published.cancelled;
    site.reader.fleet(&mut world, &report)?;
    for name in AGENTS {
        site.reader.agent(&mut world, &site.root(name), RAN.as_ref())?;
    }
    for name in NODES {
        site.reader.node(&mut world, &site.root(name))?;
    }
    Ok(world)
}

fn count(of: impl Iterator<Item = String>) -> std::collections::BTreeMap<String, u64> {
    of.fold(Default::default(), |mut counts: std::collections::BTreeMap<_, _>, what| {
        *counts.entry(what).or_default() += 1;
        counts
    })
}

fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().map(str::to_owned)
}

/// The recipients of each status in all tasks.
fn statuses(world: &World) -> std::collections::BTreeMap<String, u64> {
    let counts = world.tasks.values().filter_map(|task| task.summary.as_ref()?["counts"].as_object().cloned());
    counts.flatten().fold(Default::default(), |mut all: std::collections::BTreeMap<_, _>, (status, n)| {
        *all.entry(status).or_default() += n.as_u64().unwrap_or_default();
        all
    })
}
