//! Batches, expectations, insert-once, mailboxes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Fixture, conflict, refused};
use crate::{Fault, MAX_BATCH, Write, kv};

const STREAM: &str = "KV_agents";

fn put(key: &str, body: &str, expect: u64) -> Write {
    Write::put("agents", key, body.to_owned(), expect)
}

fn check(key: &str, revision: u64) -> Write {
    let carrier = Write::new(kv::subject("agents", "check.0"), "").ttl(Duration::from_secs(60));
    Write { check: Some((kv::subject("agents", key), revision)), ..carrier }
}

impl Fixture {
    /// Revision and value of a key.
    async fn key(&self, key: &str) -> Result<Option<(u64, Option<String>)>> {
        let entry = self.bus.get(STREAM, &kv::subject("agents", key)).await?;
        let text = |body: bytes::Bytes| String::from_utf8_lossy(&body).into_owned();
        Ok(entry.map(|entry| (entry.revision, entry.body.map(text))))
    }

    async fn value(&self, key: &str) -> Result<Option<String>> {
        Ok(self.key(key).await?.and_then(|(_, value)| value))
    }
}

pub(super) async fn a_batch_is_all_or_nothing(f: Fixture) -> Result<()> {
    let first = f.bus.commit(STREAM, vec![put("conf.all.a", "1", 0), put("conf.all.b", "1", 0)]).await?;
    ensure!(f.key("conf.all.b").await? == Some((first, Some("1".into()))), "the place is that of the last message");
    ensure!(f.key("conf.all.a").await? == Some((first - 1, Some("1".into()))), "places follow each other");
    let wrong = vec![put("conf.all.c", "2", 0), put("conf.all.a", "2", first - 1), put("conf.all.b", "2", 0)];
    conflict(f.bus.commit(STREAM, wrong).await, "one of three exists")?;
    ensure!(f.value("conf.all.a").await?.as_deref() == Some("1"), "a was changed");
    ensure!(f.key("conf.all.c").await?.is_none(), "c was stored");
    let right = vec![put("conf.all.a", "3", first - 1), Write::delete("agents", "conf.all.b", first)];
    f.bus.commit(STREAM, right).await?;
    ensure!(f.value("conf.all.a").await?.as_deref() == Some("3"), "a was not changed");
    ensure!(matches!(f.key("conf.all.b").await?, Some((_, None))), "b was not deleted");
    Ok(())
}

pub(super) async fn a_put_needs_the_newest_revision(f: Fixture) -> Result<()> {
    let first = f.bus.commit(STREAM, vec![put("conf.rev", "1", 0)]).await?;
    let second = f.bus.commit(STREAM, vec![put("conf.rev", "2", first)]).await?;
    ensure!(second > first, "revisions rise");
    conflict(f.bus.commit(STREAM, vec![put("conf.rev", "3", first)]).await, "the revision before")?;
    conflict(f.bus.commit(STREAM, vec![put("conf.rev", "3", second + 1000)]).await, "a revision to come")?;
    conflict(f.bus.commit(STREAM, vec![put("conf.rev-none", "1", first)]).await, "a revision of what is not there")?;
    ensure!(f.key("conf.rev").await? == Some((second, Some("2".into()))), "it was changed");
    Ok(())
}

pub(super) async fn what_is_there_is_not_created(f: Fixture) -> Result<()> {
    f.bus.commit(STREAM, vec![put("conf.create", "1", 0)]).await?;
    conflict(f.bus.commit(STREAM, vec![put("conf.create", "2", 0)]).await, "created twice, alone")?;
    let batch = vec![put("conf.create-other", "2", 0), put("conf.create", "2", 0)];
    conflict(f.bus.commit(STREAM, batch).await, "created twice, in a batch")?;
    ensure!(f.value("conf.create").await?.as_deref() == Some("1"), "the first value is gone");
    Ok(())
}

pub(super) async fn a_deleted_key_is_created_over_its_marker(f: Fixture) -> Result<()> {
    let there = f.bus.commit(STREAM, vec![put("conf.marker", "1", 0)]).await?;
    let marker = f.bus.commit(STREAM, vec![Write::delete("agents", "conf.marker", there)]).await?;
    ensure!(f.key("conf.marker").await? == Some((marker, None)), "the marker is read with its revision");
    conflict(f.bus.commit(STREAM, vec![put("conf.marker", "2", 0)]).await, "created as if nothing were there")?;
    f.bus.commit(STREAM, vec![put("conf.marker", "2", marker)]).await?;
    ensure!(f.value("conf.marker").await?.as_deref() == Some("2"), "it was not created again");
    Ok(())
}

pub(super) async fn a_batch_writes_a_subject_once(f: Fixture) -> Result<()> {
    let twice = vec![put("conf.twice", "1", 0), put("conf.twice-other", "1", 0), put("conf.twice", "2", 0)];
    conflict(f.bus.commit(STREAM, twice).await, "a key twice in a batch")?;
    ensure!(f.key("conf.twice").await?.is_none(), "it was stored");
    Ok(())
}

pub(super) async fn a_key_that_is_only_read_can_be_checked(f: Fixture) -> Result<()> {
    let read = f.bus.commit(STREAM, vec![put("conf.read", "1", 0)]).await?;
    f.bus.commit(STREAM, vec![check("conf.read", read), put("conf.check.a", "1", 0)]).await?;
    f.bus.commit(STREAM, vec![check("conf.read-none", 0), put("conf.check.b", "1", 0)]).await?;
    f.bus.commit(STREAM, vec![check("conf.read", read)]).await.context("a check alone")?;
    let stale = f.bus.commit(STREAM, vec![put("conf.read", "2", read)]).await.map(|_| read)?;
    conflict(
        f.bus.commit(STREAM, vec![check("conf.read", stale), put("conf.check.c", "1", 0)]).await,
        "a stale check",
    )?;
    conflict(f.bus.commit(STREAM, vec![check("conf.read", 0), put("conf.check.c", "1", 0)]).await, "it is there")?;
    conflict(f.bus.commit(STREAM, vec![check("conf.read", stale)]).await, "a stale check alone")?;
    ensure!(f.key("conf.check.c").await?.is_none(), "it was stored in spite of the check");
    Ok(())
}

pub(super) async fn a_message_carries_one_expectation(f: Fixture) -> Result<()> {
    let both = Write { expect: Some(0), ..check("conf.both", 0) };
    refused(f.bus.commit(STREAM, vec![both]).await, |fault| matches!(fault, Fault::Refused(_)), "two expectations")
}

pub(super) async fn a_batch_has_a_limit(f: Fixture) -> Result<()> {
    let batch = |n: usize, at: &str| (0..n).map(|i| put(&format!("conf.{at}.{i}"), "1", 0)).collect::<Vec<_>>();
    f.bus.commit(STREAM, batch(MAX_BATCH, "most")).await.context("the most that fit")?;
    let refusal = |fault: &Fault| matches!(fault, Fault::Refused(_));
    refused(f.bus.commit(STREAM, batch(MAX_BATCH + 1, "more")).await, refusal, "one too many")?;
    refused(f.bus.commit(STREAM, Vec::new()).await, refusal, "a batch of nothing")?;
    ensure!(f.key("conf.more.0").await?.is_none(), "a part of it was stored");
    Ok(())
}

fn run(agent: &str, body: &str) -> Write {
    Write::new(format!("commands.agent.{agent}.run.conf"), body.to_owned())
}

pub(super) async fn insert_once_refuses_the_second(f: Fixture) -> Result<()> {
    let exists = |fault: &Fault| *fault == Fault::Exists;
    f.bus.commit("RUNS", vec![run("once", "1")]).await?;
    refused(f.bus.commit("RUNS", vec![run("once", "2")]).await, exists, "alone")?;
    let batch = vec![run("once-a", "2"), run("once", "2"), run("once-b", "2")];
    refused(f.bus.commit("RUNS", batch).await, exists, "in a batch")?;
    ensure!(f.bus.get("RUNS", &run("once-a", "").subject).await?.is_none(), "a part of it was stored");
    let stored = f.bus.get("RUNS", &run("once", "").subject).await?.and_then(|entry| entry.body);
    ensure!(stored.as_deref() == Some(b"1"), "the first was overwritten");
    Ok(())
}

pub(super) async fn insert_once_takes_again_what_was_purged(f: Fixture) -> Result<()> {
    f.bus.commit("RUNS", vec![run("purge", "1")]).await?;
    f.bus.purge("RUNS", &run("purge", "").subject).await?;
    ensure!(f.bus.get("RUNS", &run("purge", "").subject).await?.is_none(), "it is still there");
    f.bus.commit("RUNS", vec![run("purge", "2"), run("purge-other", "2")]).await?;
    Ok(())
}

pub(super) async fn a_repeated_publish_is_no_error(f: Fixture) -> Result<()> {
    for count in [3, 40] {
        let agent = |n: usize| format!("repeat-{count}-{n}");
        let page = || (0..count).map(|n| run(&agent(n), "1")).collect::<Vec<_>>();
        f.bus.publish("RUNS", page()).await?;
        let place = f.bus.get("RUNS", &run(&agent(0), "").subject).await?.map(|entry| entry.revision);
        f.bus.publish("RUNS", page()).await.with_context(|| format!("{count} again"))?;
        let subjects: Vec<String> = page().into_iter().map(|write| write.subject).collect();
        ensure!(f.bus.get_many("RUNS", &subjects).await?.len() == count, "not all of {count} are there");
        let now = f.bus.get("RUNS", &run(&agent(0), "").subject).await?.map(|entry| entry.revision);
        ensure!(place == now, "it was stored twice");
    }
    f.bus.publish("RUNS", Vec::new()).await.context("nothing at all")
}

pub(super) async fn a_mailbox_keeps_the_newest(f: Fixture) -> Result<()> {
    let set = |lane: &str, body: &str| Write::new(format!("commands.agent.conf.set.{lane}"), body.to_owned());
    f.bus.publish("COMMANDS", vec![set("name", "1"), set("groups", "1")]).await?;
    f.bus.publish("COMMANDS", vec![set("name", "2")]).await?;
    let mailbox = f.bus.list("COMMANDS", "commands.agent.conf.set.>").await?;
    ensure!(mailbox == ["commands.agent.conf.set.groups", "commands.agent.conf.set.name"], "{mailbox:?}");
    let name = f.bus.get("COMMANDS", &set("name", "").subject).await?.and_then(|entry| entry.body);
    ensure!(name.as_deref() == Some(b"2"), "the newest is not what is read");
    Ok(())
}

pub(super) async fn what_is_too_big_is_refused(f: Fixture) -> Result<()> {
    let refusal = |fault: &Fault| matches!(fault, Fault::Refused(_));
    let big = || run("big", &"x".repeat(70_000));
    refused(f.bus.commit("RUNS", vec![big()]).await, refusal, "alone")?;
    refused(f.bus.commit("RUNS", vec![run("big-a", "1"), big(), run("big-b", "1")]).await, refusal, "in a batch")?;
    ensure!(f.bus.get("RUNS", &run("big-a", "").subject).await?.is_none(), "a part of it was stored");
    Ok(())
}
