//! A reader of a consumer, and settling.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_core::instant::Instant;
use tokio::sync::Notify;

use super::consumer::Consumer;
use super::stream::Stream;
use super::{MemoryBroker, State};
use crate::{Deliveries, Delivery, Fault, Settle};

type Key = (String, String);

/// How soon a standby reader of a pinned consumer asks again.
const ASK_AGAIN: Duration = Duration::from_secs(4);

pub struct Reader {
    broker: MemoryBroker,
    key: Key,
    id: u64,
    prefetch: usize,
    news: Arc<Notify>,
    /// What has arrived and was not taken; its time to redelivery runs.
    arrived: VecDeque<Delivery>,
}

impl Reader {
    pub fn new(broker: MemoryBroker, key: Key, id: u64, prefetch: usize, news: Arc<Notify>) -> Self {
        Self { broker, key, id, prefetch, news, arrived: VecDeque::new() }
    }

    /// Lets arrive what there is; says until when to wait when nothing has.
    fn pull(&mut self) -> Option<Instant> {
        let now = self.broker.0.clock.now();
        let mut state = self.broker.state();
        state.advance(&self.key.0, now);
        let State { streams, consumers, .. } = &mut *state;
        let (Some(stream), Some(consumer)) = (streams.get(&self.key.0), consumers.get_mut(&self.key)) else {
            return None;
        };
        let serves = consumer.serves(self.id, now);
        while serves && self.arrived.len() < self.prefetch {
            let Some((place, delivered)) = consumer.next(stream, now) else { break };
            let settle = Box::new(MemorySettle { broker: self.broker.clone(), key: self.key.clone(), place });
            self.arrived.extend(delivery(stream, place, delivered, settle));
        }
        if !serves {
            return consumer.unpinned(self.id);
        }
        let alive = consumer.is_pinned().then(|| now.plus(ASK_AGAIN));
        [consumer.next_again(), stream.next_due(), alive].into_iter().flatten().min()
    }
}

fn delivery(stream: &Stream, place: u64, delivered: u64, settle: Box<dyn Settle>) -> Option<Delivery> {
    let message = stream.message(place)?;
    Some(Delivery {
        subject: message.subject.clone(),
        headers: message.headers.clone(),
        body: message.body.clone().unwrap_or_default(),
        place,
        at: message.at,
        delivery: delivered,
        settle,
    })
}

#[async_trait]
impl Deliveries for Reader {
    async fn next(&mut self, max: usize) -> Result<Option<Vec<Delivery>>, Fault> {
        loop {
            let news = self.news.clone();
            let mut news = std::pin::pin!(news.notified());
            // Registered before the look, so that what is stored in between is not missed.
            news.as_mut().enable();
            let until = self.pull();
            if !self.arrived.is_empty() {
                let count = max.max(1).min(self.arrived.len());
                return Ok(Some(self.arrived.drain(..count).collect()));
            }
            let clock = self.broker.0.clock.clone();
            match until {
                None => news.await,
                Some(until) => {
                    let span = until.since(clock.now()).max(Duration::from_millis(1));
                    tokio::select! { biased; () = news => {} () = clock.sleep(span) => {} }
                }
            }
        }
    }

    async fn close(mut self: Box<Self>) {
        for left in std::mem::take(&mut self.arrived) {
            let _ = left.settle.nak(Duration::ZERO).await;
        }
    }
}

struct MemorySettle {
    broker: MemoryBroker,
    key: Key,
    place: u64,
}

impl MemorySettle {
    fn settle(&self, how: impl FnOnce(&mut Consumer, Instant)) -> Result<(), Fault> {
        let now = self.broker.0.clock.now();
        if let Some(consumer) = self.broker.state().consumers.get_mut(&self.key) {
            how(consumer, now);
            consumer.news.notify_waiters();
        }
        Ok(())
    }
}

#[async_trait]
impl Settle for MemorySettle {
    async fn ack(&self) -> Result<(), Fault> {
        self.settle(|consumer, now| consumer.ack(self.place, now))
    }

    async fn nak(&self, delay: Duration) -> Result<(), Fault> {
        self.settle(|consumer, now| consumer.nak(self.place, delay, now))
    }

    async fn progress(&self) -> Result<(), Fault> {
        self.settle(|consumer, now| consumer.progress(self.place, now))
    }
}
