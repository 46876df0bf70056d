//! How a fleet arrives: connections, enrolment, subscriptions, hellos.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use muster_core::message::{Enrol, Enrolled};
use muster_core::record::agent_number;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::alarms::{Clock, What, alarms};
use super::chance::Chance;
use super::contents::Contents;
use super::counts::Counts;
use super::line::Line;
use super::{ABILITIES, Fleet, Inner, Mind, Settings, Virtual};
use crate::link::pause;
use crate::rules::{About, Core, Memory, State};

/// So many enrolments, hellos or syncs are open at once.
const AT_ONCE: usize = 500;

pub(super) async fn arrive(settings: Settings, stop: CancellationToken) -> anyhow::Result<Fleet> {
    settings.check()?;
    let chance = Chance::new(&settings.prefix, settings.seed);
    let mut lines = Vec::new();
    for _ in 0..settings.connections {
        lines.push(Line::open(&settings.access).await?);
    }
    let enrolling = stream::iter(0..settings.count)
        .map(|n| enrol(&lines[n as usize % lines.len()], &settings, &chance, n))
        .buffered(AT_ONCE)
        .try_collect::<Vec<u32>>();
    let numbers = tokio::select! {
        () = stop.cancelled() => return Err(anyhow!("the fleet was stopped while it enrolled")),
        numbers = enrolling => numbers?,
    };
    // Each run has ledgers of its own: what an earlier one was handed over is lost with it.
    let run = nuid::next();
    let agent = |(n, number): (usize, &u32)| -> anyhow::Result<Virtual> {
        let core = Core::start(State::new(format!("{run}-{n}")), Memory, ABILITIES)?;
        let online = !chance.hits(settings.offline, "offline", n);
        let mind = Mind { core, sync: None, hurried: 0, greeted: false, listener: None };
        Ok(Virtual { number: *number, online: AtomicBool::new(online), mind: Mutex::new(mind) })
    };
    let agents = numbers.iter().enumerate().map(agent).collect::<anyhow::Result<Vec<_>>>()?;
    let by_number: HashMap<u32, u32> = numbers.iter().copied().zip(0..).collect();
    let about = About {
        version: settings.version.clone(),
        os: settings.os.clone(),
        arch: std::env::consts::ARCH.into(),
        labels: settings.labels.clone(),
    };
    let (alarms, clock) = alarms();
    let (contents, counts) = (Contents::default(), Counts::new(settings.diary));
    let inner = Inner { settings, about, chance, lines, agents, by_number, contents, counts, alarms, stop };
    let inner = Arc::new(inner);
    tokio::spawn(tend(inner.clone(), clock));
    if !inner.settings.listens_each() {
        inner.listen_together().await?;
    }
    let online: Vec<u32> = (0..).zip(&inner.agents).filter(|(_, agent)| agent.is_online()).map(|(n, _)| n).collect();
    inner.clone().greet(online).await?;
    Ok(Fleet(inner))
}

/// Gives the number of the fleet's `n`th agent.
async fn enrol(line: &Line, settings: &Settings, chance: &Chance, n: u32) -> anyhow::Result<u32> {
    let nkey = chance.nkey(n)?;
    let subject = format!("enrol.{nkey}");
    let question = Enrol { name: settings.name(n), version: settings.version.clone(), os: settings.os.clone() };
    for attempt in 1.. {
        match line.ask::<Enrolled>(&nkey, subject.clone(), &question).await {
            Ok(enrolled) => return agent_number(&enrolled.id).with_context(|| format!("'{}' is no id", enrolled.id)),
            Err(why) if why.is("name-taken") => {
                anyhow::bail!(
                    "an agent of another fleet is called '{}'; use the seed it was started with, or another prefix",
                    question.name
                )
            }
            Err(why) if !why.is_temporary() => anyhow::bail!("{} cannot enrol: {why}", question.name),
            Err(why) => tracing::debug!(%why, name = question.name, "asking again"),
        }
        tokio::time::sleep(pause(attempt, Duration::from_millis(500))).await;
    }
    anyhow::bail!("the enrolment was given up")
}

impl Inner {
    /// Lets these agents listen and says hello for each, until it is answered.
    async fn greet(self: Arc<Self>, agents: Vec<u32>) -> anyhow::Result<()> {
        if self.settings.listens_each() {
            for index in &agents {
                self.clone().listen_alone(*index).await?;
            }
            self.barrier().await;
        }
        let hellos = stream::iter(agents).for_each_concurrent(AT_ONCE, |index| {
            let fleet = self.clone();
            async move {
                for attempt in 1.. {
                    if !fleet.agents[index as usize].is_online() || fleet.clone().ask_state(index).await {
                        break;
                    }
                    tokio::time::sleep(pause(attempt, Duration::from_millis(500))).await;
                }
            }
        });
        tokio::select! { () = self.stop.cancelled() => {}, () = hellos => {} }
        Ok(())
    }

    pub(super) fn go_offline(&self, share: f64) -> usize {
        let mut online: Vec<u32> =
            (0..).zip(&self.agents).filter(|(_, agent)| agent.is_online()).map(|(n, _)| n).collect();
        online.sort_by(|a, b| self.chance.share("leave", a).total_cmp(&self.chance.share("leave", b)));
        // The share is from 0 to 1: the product is no larger than the number of agents.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let leave = (online.len() as f64 * share.clamp(0.0, 1.0)).round() as usize;
        for index in &online[..leave] {
            let agent = &self.agents[*index as usize];
            agent.online.store(false, Ordering::Relaxed);
            let mut mind = agent.mind();
            (mind.greeted, mind.sync) = (false, None);
            if let Some(listener) = mind.listener.take() {
                listener.abort();
            }
        }
        leave
    }

    pub(super) async fn come_online(self: Arc<Self>) {
        let back = |(index, agent): (u32, &Virtual)| (!agent.online.swap(true, Ordering::Relaxed)).then_some(index);
        let back: Vec<u32> = (0..).zip(&self.agents).filter_map(back).collect();
        if let Err(error) = self.greet(back).await {
            tracing::warn!(%error, "not all agents of the fleet came online");
        }
    }
}

/// Does what agents do by themselves.
async fn tend(fleet: Arc<Inner>, mut clock: Clock) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let alarm = tokio::select! { () = fleet.stop.cancelled() => return, alarm = clock.next() => alarm };
        let Some((at, index, what)) = alarm else { return };
        let agent = &fleet.agents[index as usize];
        let due = match what {
            What::Sync => agent.mind().sync == Some(at),
            What::Report => agent.mind().core.reports(),
        };
        if !due || !agent.is_online() {
            continue;
        }
        // The semaphore is never closed.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let fleet = fleet.clone();
        tokio::spawn(async move {
            match what {
                What::Sync => drop(fleet.ask_state(index).await),
                What::Report => fleet.report_again(index).await,
            }
            drop(permit);
        });
    }
}
