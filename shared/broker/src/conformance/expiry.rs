//! What time does: lives and schedules.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Fixture;
use crate::{Write, kv};

const LIFE: Duration = Duration::from_secs(1);

pub(super) async fn a_message_goes_after_its_life(f: Fixture) -> Result<()> {
    let put = |key: &str| Write::put("agents", key, "1", 0);
    f.bus.commit("KV_agents", vec![put("conf.life").ttl(LIFE)]).await?;
    f.bus.commit("KV_agents", vec![put("conf.life-a").ttl(LIFE), put("conf.life-b")]).await?;
    f.until("KV_agents", &kv::subject("agents", "conf.life"), false).await?;
    f.until("KV_agents", &kv::subject("agents", "conf.life-a"), false).await?;
    let other = f.bus.get("KV_agents", &kv::subject("agents", "conf.life-b")).await?;
    ensure!(other.is_some(), "a message without a life went with its batch");
    f.bus.commit("KV_agents", vec![put("conf.life")]).await.context("created anew")?;
    Ok(())
}

pub(super) async fn insert_once_takes_again_what_has_expired(f: Fixture) -> Result<()> {
    let run = || Write::new("commands.agent.life.run.conf", "1");
    f.bus.commit("RUNS", vec![run().ttl(LIFE)]).await?;
    f.until("RUNS", &run().subject, false).await?;
    f.bus.commit("RUNS", vec![run()]).await?;
    Ok(())
}

fn schedule(f: &Fixture, id: &str, after: Duration) -> Write {
    Write::new(format!("schedule.at.{id}"), "due")
        .header("Nats-Schedule", format!("@at {}", f.clock.now().plus(after)))
        .header("Nats-Schedule-Target", format!("schedule.due.{id}"))
}

pub(super) async fn a_schedule_fires_once(f: Fixture) -> Result<()> {
    f.bus.commit("SCHEDULE", vec![schedule(&f, "conf-fires", LIFE)]).await?;
    ensure!(f.bus.get("SCHEDULE", "schedule.due.conf-fires").await?.is_none(), "it is due before its time");
    f.until("SCHEDULE", "schedule.due.conf-fires", true).await?;
    let due = f.bus.get("SCHEDULE", "schedule.due.conf-fires").await?.context("not there")?;
    ensure!(due.body.as_deref() == Some(b"due"), "another body");
    f.until("SCHEDULE", "schedule.at.conf-fires", false).await
}

pub(super) async fn a_purged_schedule_does_not_fire(f: Fixture) -> Result<()> {
    f.bus.commit("SCHEDULE", vec![schedule(&f, "conf-purged", 2 * LIFE), schedule(&f, "conf-kept", 2 * LIFE)]).await?;
    f.bus.purge("SCHEDULE", "schedule.at.conf-purged").await?;
    f.until("SCHEDULE", "schedule.due.conf-kept", true).await?;
    f.clock.sleep(LIFE).await;
    ensure!(f.bus.get("SCHEDULE", "schedule.due.conf-purged").await?.is_none(), "it fired");
    Ok(())
}
