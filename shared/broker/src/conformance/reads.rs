//! Reads of one, of many, of all.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::try_join_all;

use super::{Fixture, refused};
use crate::{Entry, Fault, MAX_BATCH, Write, kv};

fn subject(key: &str) -> String {
    kv::subject("reported", key)
}

impl Fixture {
    async fn fill(&self, prefix: &str, count: usize, body: impl Fn(usize) -> String) -> Result<Vec<String>> {
        let keys: Vec<String> = (0..count).map(|n| format!("{prefix}.{n}")).collect();
        let writes = keys.iter().enumerate().map(|(n, key)| Write::put("reported", key, body(n), 0));
        for batch in writes.collect::<Vec<_>>().chunks(MAX_BATCH) {
            self.bus.commit("KV_reported", batch.to_vec()).await?;
        }
        Ok(keys.iter().map(|key| subject(key)).collect())
    }
}

fn by_subject(entries: Vec<Entry>) -> BTreeMap<String, Option<Bytes>> {
    entries.into_iter().map(|entry| (entry.subject, entry.body)).collect()
}

pub(super) async fn a_read_sees_the_write_before_it(f: Fixture) -> Result<()> {
    ensure!(f.bus.get("KV_reported", &subject("conf.leader")).await?.is_none(), "it is there before it was written");
    let mut revision = 0;
    let began = f.clock.now();
    for n in 0..100 {
        let write = Write::put("reported", "conf.leader", n.to_string(), revision);
        revision = f.bus.commit("KV_reported", vec![write]).await?;
        let read = f.bus.get("KV_reported", &subject("conf.leader")).await?.context("not there")?;
        ensure!((read.revision, read.body) == (revision, Some(n.to_string().into())), "write {n} is not what is read");
        ensure!(read.at.0 > began.0 - 60_000, "stored at {}, long before {began}", read.at);
    }
    Ok(())
}

pub(super) async fn reading_many_leaves_out_what_is_missing(f: Fixture) -> Result<()> {
    let mut subjects = f.fill("conf.many", 10, |n| n.to_string()).await?;
    let first = f.bus.get("KV_reported", &subjects[0]).await?.context("not there")?;
    f.bus.commit("KV_reported", vec![Write::delete("reported", "conf.many.0", first.revision)]).await?;
    subjects.push(subject("conf.many.none"));
    let found = by_subject(f.bus.get_many("KV_reported", &subjects).await?);
    ensure!(found.len() == 10, "{} of 10 were found", found.len());
    ensure!(found.get(&subjects[0]) == Some(&None), "a deleted key has a marker without a value");
    ensure!(found.get(&subjects[3]) == Some(&Some("3".into())), "a value is wrong");
    ensure!(f.bus.get_many("KV_reported", &[]).await?.is_empty(), "nothing gives nothing");
    ensure!(f.bus.get_many("KV_reported", &[subject("conf.many.none")]).await?.is_empty(), "none is there");
    Ok(())
}

pub(super) async fn reading_more_than_a_request_holds(f: Fixture) -> Result<()> {
    let mut subjects = f.fill("conf.more-than", 2500, |n| n.to_string()).await?;
    let wanted: BTreeMap<_, _> =
        subjects.iter().cloned().zip((0..).map(|n| Some(Bytes::from(format!("{n}"))))).collect();
    subjects.extend((0..100).map(|n| subject(&format!("conf.more-than.none-{n}"))));
    ensure!(by_subject(f.bus.get_many("KV_reported", &subjects).await?) == wanted, "not what was written");
    Ok(())
}

pub(super) async fn reading_many_large_values(f: Fixture) -> Result<()> {
    let subjects = f.fill("conf.large", 30, |n| format!("{n}").repeat(200_000)).await?;
    let found = by_subject(f.bus.get_many("KV_reported", &subjects).await?);
    ensure!(found.len() == 30, "{} of 30 were found", found.len());
    let whole = found.values().all(|body| body.as_ref().is_some_and(|body| body.len() >= 200_000));
    ensure!(whole, "a value is not whole");
    Ok(())
}

pub(super) async fn reading_many_at_once(f: Fixture) -> Result<()> {
    let subjects = f.fill("conf.at-once", 500, |n| n.to_string()).await?;
    let reads = (0..60).map(|n| {
        let (bus, part) = (f.bus.clone(), subjects[n..n + 400].to_vec());
        async move {
            let found = by_subject(bus.get_many("KV_reported", &part).await?);
            ensure!(found.keys().eq(part.iter().collect::<std::collections::BTreeSet<_>>()), "another's answer");
            Ok(())
        }
    });
    try_join_all(reads).await.map(drop)
}

pub(super) async fn a_list_names_what_a_filter_covers(f: Fixture) -> Result<()> {
    f.fill("conf.list.a", 3, |n| n.to_string()).await?;
    f.fill("conf.list.b", 2, |n| n.to_string()).await?;
    let listed = f.bus.list("KV_reported", &subject("conf.list.a.*")).await?;
    ensure!(listed == [0, 1, 2].map(|n| subject(&format!("conf.list.a.{n}"))), "{listed:?}");
    ensure!(f.bus.list("KV_reported", &subject("conf.list.>")).await?.len() == 5, "not all five");
    ensure!(f.bus.list("KV_reported", &subject("conf.list.none.>")).await?.is_empty(), "something of nothing");
    Ok(())
}

pub(super) async fn a_scan_gives_the_newest_of_each(f: Fixture) -> Result<()> {
    let subjects = f.fill("conf.scan", 3000, |n| n.to_string()).await?;
    let of = |n: usize| f.bus.get("KV_reported", &subjects[n]);
    let (second, third) = (of(1).await?.context("not there")?, of(2).await?.context("not there")?);
    f.bus.commit("KV_reported", vec![Write::put("reported", "conf.scan.1", "new", second.revision)]).await?;
    f.bus.commit("KV_reported", vec![Write::delete("reported", "conf.scan.2", third.revision)]).await?;
    let all: Vec<Entry> = f.bus.scan("KV_reported", &subject("conf.scan.*")).await?.try_collect().await?;
    ensure!(all.len() == 3000, "{} of 3000 came", all.len());
    ensure!(all.is_sorted_by_key(|entry| entry.revision), "not in the order of their places");
    let found = by_subject(all);
    ensure!(found.get(&subjects[0]) == Some(&Some("0".into())), "an old value is wrong");
    ensure!(found.get(&subjects[1]) == Some(&Some("new".into())), "not the newest");
    ensure!(found.get(&subjects[2]) == Some(&None), "a deleted key has a marker without a value");
    Ok(())
}

pub(super) async fn a_scan_of_nothing_ends(f: Fixture) -> Result<()> {
    let all: Vec<Entry> = f.bus.scan("KV_reported", &subject("conf.scan-none.>")).await?.try_collect().await?;
    ensure!(all.is_empty(), "something of nothing");
    Ok(())
}

pub(super) async fn an_unknown_stream_is_unavailable(f: Fixture) -> Result<()> {
    let unavailable = |fault: &Fault| matches!(fault, Fault::Unavailable(_));
    refused(f.bus.get("KV_conf-none", "$KV.conf-none.a").await, unavailable, "get")?;
    refused(f.bus.get_many("KV_conf-none", &["$KV.conf-none.a".into()]).await, unavailable, "get_many")?;
    refused(f.bus.list("KV_conf-none", "$KV.conf-none.>").await, unavailable, "list")?;
    refused(f.bus.scan("KV_conf-none", "$KV.conf-none.>").await, unavailable, "scan")?;
    refused(f.bus.purge("KV_conf-none", "$KV.conf-none.a").await, unavailable, "purge")?;
    refused(f.bus.commit("KV_conf-none", vec![Write::put("conf-none", "a", "", 0)]).await, unavailable, "commit")
}
