//! Durable consumers: order, redelivery, settling.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::future::{Either, select};

use super::{Fixture, PATIENCE, refused};
use crate::{Deliveries, Delivery, Fault, Write};

type Reader = Box<dyn Deliveries>;

impl Fixture {
    async fn reader(&self, name: &str) -> Result<Reader> {
        Ok(self.bus.subscribe("TASKS", &format!("conformance-{name}"), 100).await?)
    }

    async fn tell(&self, name: &str, bodies: &[&str]) -> Result<()> {
        for body in bodies {
            let write = Write::new(format!("tasks.conformance-{name}"), (*body).to_owned()).header("conf", *body);
            self.bus.commit("TASKS", vec![write]).await?;
        }
        Ok(())
    }

    async fn take(&self, reader: &mut Reader, max: usize) -> Result<Vec<Delivery>> {
        let taken = self.within(PATIENCE, reader.next(max)).await.context("no message came")??;
        taken.context("the reader has ended")
    }

    async fn take_one(&self, reader: &mut Reader) -> Result<Delivery> {
        self.take(reader, 1).await?.pop().context("an empty answer")
    }

    async fn nothing(&self, reader: &mut Reader, during: Duration) -> Result<()> {
        match self.within(during, reader.next(1)).await {
            None => Ok(()),
            Some(Ok(taken)) => {
                bail!("came: {:?}", taken.map(|all| all.into_iter().map(|d| d.body).collect::<Vec<_>>()))
            }
            Some(Err(fault)) => bail!("{fault}"),
        }
    }
}

pub(super) async fn messages_come_in_order_with_all_they_carry(f: Fixture) -> Result<()> {
    let bodies: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let began = f.clock.now();
    f.tell("order", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut reader = f.reader("order").await?;
    let mut all = Vec::new();
    while all.len() < 50 {
        let some = f.take(&mut reader, 7).await?;
        ensure!(!some.is_empty() && some.len() <= 7, "{} messages where 1 to 7 were asked for", some.len());
        all.extend(some);
    }
    for (delivery, body) in all.iter().zip(&bodies) {
        ensure!(delivery.body == body.as_bytes(), "{:?} instead of {body}", delivery.body);
        ensure!(delivery.subject == "tasks.conformance-order", "subject {}", delivery.subject);
        ensure!(delivery.header("conf") == Some(body) && delivery.header("none").is_none(), "headers of {body}");
        ensure!(delivery.delivery == 1, "delivered {} times", delivery.delivery);
        ensure!(delivery.at.0 > began.0 - 60_000, "stored at {}, long before {began}", delivery.at);
        delivery.settle.ack().await?;
    }
    ensure!(all.is_sorted_by_key(|delivery| delivery.place), "places rise");
    f.nothing(&mut reader, Duration::from_millis(500)).await
}

pub(super) async fn a_message_handed_back_comes_again(f: Fixture) -> Result<()> {
    f.tell("nak", &["a", "b"]).await?;
    let mut reader = f.reader("nak").await?;
    let first = f.take_one(&mut reader).await?;
    first.settle.nak(Duration::from_secs(1)).await?;
    let second = f.take_one(&mut reader).await?;
    ensure!(second.body == "b", "the next comes during the delay");
    second.settle.ack().await?;
    let again = f.take_one(&mut reader).await?;
    ensure!((again.body.as_ref(), again.delivery, again.place) == (b"a", 2, first.place), "not the same again");
    again.settle.nak(Duration::ZERO).await?;
    let third = f.take_one(&mut reader).await?;
    ensure!((third.body.as_ref(), third.delivery) == (b"a", 3), "not the same a third time");
    third.settle.ack().await?;
    f.nothing(&mut reader, Duration::from_millis(1500)).await
}

pub(super) async fn a_message_not_settled_comes_again(f: Fixture) -> Result<()> {
    f.tell("ack-wait", &["a"]).await?;
    let mut gone = f.reader("ack-wait").await?;
    let first = f.take_one(&mut gone).await?;
    drop(gone);
    let mut reader = f.reader("ack-wait").await?;
    let again = f.take_one(&mut reader).await?;
    ensure!((again.body.as_ref(), again.delivery > 1) == (b"a", true), "not the same again");
    ensure!(again.place == first.place, "another place");
    again.settle.ack().await?;
    f.nothing(&mut reader, Duration::from_millis(1500)).await
}

pub(super) async fn what_was_not_taken_is_handed_back_at_the_close(f: Fixture) -> Result<()> {
    let bodies: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let mut reader = f.reader("close").await?;
    let (tell, take) = futures::join!(
        f.tell("close", &bodies),
        // While they are on their way.
        f.take(&mut reader, 10),
    );
    tell?;
    let taken = take?;
    reader.close().await;
    for delivery in &taken {
        delivery.settle.ack().await?;
    }
    let mut other = f.reader("close").await?;
    let mut places: Vec<u64> = taken.iter().map(|delivery| delivery.place).collect();
    while places.len() < bodies.len() {
        for delivery in f.take(&mut other, 100).await? {
            places.push(delivery.place);
            delivery.settle.ack().await?;
        }
    }
    places.sort_unstable();
    places.dedup();
    ensure!(places.len() == bodies.len(), "{} of {} came", places.len(), bodies.len());
    f.nothing(&mut other, Duration::from_millis(500)).await?;
    // One that has read nothing has nothing to hand back.
    other.close().await;
    f.reader("close").await?.close().await;
    Ok(())
}

pub(super) async fn progress_puts_off_redelivery(f: Fixture) -> Result<()> {
    f.tell("progress", &["a"]).await?;
    let mut reader = f.reader("progress").await?;
    let first = f.take_one(&mut reader).await?;
    for _ in 0..7 {
        f.nothing(&mut reader, Duration::from_secs(1)).await?;
        first.settle.progress().await?;
    }
    let again = f.take_one(&mut reader).await?;
    ensure!(again.delivery == 2, "it comes once progress has ended");
    again.settle.ack().await?;
    Ok(())
}

pub(super) async fn one_at_a_time_between_two_readers(f: Fixture) -> Result<()> {
    f.tell("one", &["a", "b", "c"]).await?;
    let (mut left, mut right) = (f.reader("one").await?, f.reader("one").await?);
    for body in ["a", "b", "c"] {
        let either = f.within(PATIENCE, async {
            match select(left.next(10), right.next(10)).await {
                Either::Left((taken, _)) | Either::Right((taken, _)) => taken,
            }
        });
        let taken = either.await.context("no message came")??.context("the reader has ended")?;
        ensure!(taken.len() == 1 && taken[0].body == body, "not {body} alone");
        f.nothing(&mut left, Duration::from_millis(300)).await?;
        f.nothing(&mut right, Duration::from_millis(300)).await?;
        taken[0].settle.ack().await?;
    }
    Ok(())
}

pub(super) async fn an_unknown_consumer_is_unavailable(f: Fixture) -> Result<()> {
    let unavailable = |fault: &Fault| matches!(fault, Fault::Unavailable(_));
    refused(f.bus.subscribe("TASKS", "conformance-none", 1).await, unavailable, "no such consumer")?;
    refused(f.bus.subscribe("conformance-none", "x", 1).await, unavailable, "no such stream")
}
