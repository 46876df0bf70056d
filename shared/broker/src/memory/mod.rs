//! A broker in memory, for simulations: the semantics of JetStream that the protocol rests on, and no faults of its own.
//!
//! It is made from the files of `nats/` and must pass the conformance suite that the server passes, so that what holds
//! on it is not a property of a kinder world. A file that names a setting which is not modelled here is refused. Time is
//! that of its clock; what time does (lives, schedules, redelivery) is done when somebody looks.

mod consumer;
mod filter;
mod reader;
mod settings;
mod stream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self as streams, BoxStream};
use muster_core::instant::Instant;
use serde_json::Value;
use tokio::sync::Notify;

use self::consumer::Consumer;
use self::reader::Reader;
use self::settings::{ConsumerSettings, StreamSettings};
use self::stream::Stream;
use crate::topology;
use crate::{Broker, Clock, Deliveries, Entry, Fault, MAX_BATCH, Write};

/// Up to this many messages are stored one by one by [`Broker::publish`], as on NATS.
const FEW: usize = 16;
/// At most so many subjects are named by [`Broker::list`].
const MAX_SUBJECTS: usize = 100_000;

/// The broker; clones are the same one.
#[derive(Clone)]
pub struct MemoryBroker(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

/// All that a broker held at some moment.
pub struct Backup {
    streams: BTreeMap<String, Stream>,
    consumers: BTreeMap<(String, String), Consumer>,
}

#[derive(Default)]
struct State {
    streams: BTreeMap<String, Stream>,
    consumers: BTreeMap<(String, String), Consumer>,
    /// The readers that were ever opened.
    readers: u64,
}

impl MemoryBroker {
    /// An empty broker with the streams, buckets, consumers and first keys of `nats/`.
    ///
    /// # Errors
    /// [`Fault::Refused`] when a file names what is not modelled.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let broker = Self(Arc::new(Shared { state: Mutex::default(), clock }));
        for file in topology::stream_files() {
            let settings: StreamSettings = parse(file)?;
            broker.state().streams.insert(settings.name.clone(), Stream::new(settings));
        }
        for (stream, file) in topology::consumer_files() {
            broker.add(stream, parse(file)?)?;
        }
        let now = broker.0.clock.now();
        let mut state = broker.state();
        for (key, value) in topology::first_keys()? {
            state.commit("KV_agents", vec![Write::put("agents", &key, value, 0)], now)?;
        }
        drop(state);
        Ok(broker)
    }

    /// Adds a durable consumer, in the form of the files of `nats/consumers`.
    ///
    /// # Errors
    /// [`Fault::Refused`] when it names what is not modelled, or there is no such stream.
    pub fn add_consumer(&self, stream: &str, settings: &Value) -> Result<(), Fault> {
        self.add(stream, parse(&settings.to_string())?)
    }

    fn add(&self, stream: &str, settings: ConsumerSettings) -> Result<(), Fault> {
        let mut state = self.state();
        if !state.streams.contains_key(stream) {
            return Err(Fault::Refused(format!("there is no stream {stream}")));
        }
        let key = (stream.to_owned(), settings.durable_name.clone());
        state.consumers.insert(key, Consumer::new(settings));
        Ok(())
    }

    /// What a restart of the server does to consumers: what is not acknowledged is delivered again at once, and with it
    /// what was acknowledged in the last moments, whose acks had not reached the disk.
    pub fn restart(&self) {
        let now = self.0.clock.now();
        for consumer in self.state().consumers.values_mut() {
            consumer.restart(now);
        }
    }

    /// Keeps all that there is now.
    pub fn backup(&self) -> Backup {
        let state = self.state();
        Backup { streams: state.streams.clone(), consumers: state.consumers.clone() }
    }

    /// Makes it what it was; all that was stored since is lost.
    pub fn restore(&self, backup: Backup) {
        let mut state = self.state();
        (state.streams, state.consumers) = (backup.streams, backup.consumers);
        drop(state);
        self.restart();
    }

    /// All messages of a stream, in order.
    pub fn messages(&self, stream: &str) -> Vec<Entry> {
        self.look(stream, |stream| stream.all().collect()).unwrap_or_default()
    }

    /// The messages that a consumer has still to deliver or to hear of, for who waits until all is done.
    pub fn open(&self, stream: &str, consumer: &str) -> usize {
        let now = self.0.clock.now();
        let mut state = self.state();
        state.advance(stream, now);
        let State { streams, consumers, .. } = &mut *state;
        match (streams.get(stream), consumers.get(&(stream.to_owned(), consumer.to_owned()))) {
            (Some(stream), Some(consumer)) => consumer.open(stream),
            _ => 0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a stream as it is now.
    fn look<T>(&self, stream: &str, look: impl FnOnce(&mut Stream) -> T) -> Result<T, Fault> {
        let now = self.0.clock.now();
        let mut state = self.state();
        state.advance(stream, now);
        state.streams.get_mut(stream).map(look).ok_or_else(|| unknown(stream))
    }

    fn store(&self, stream: &str, writes: Vec<Write>) -> Result<u64, Fault> {
        let now = self.0.clock.now();
        self.state().commit(stream, writes, now)
    }
}

impl State {
    /// Does what time has brought about in a stream.
    fn advance(&mut self, name: &str, now: Instant) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        stream.expire(now);
        if stream.fire(now) {
            self.wake(name);
        }
    }

    fn commit(&mut self, name: &str, writes: Vec<Write>, now: Instant) -> Result<u64, Fault> {
        self.advance(name, now);
        let stream = self.streams.get_mut(name).ok_or_else(|| unknown(name))?;
        let place = stream.commit(writes, now)?;
        self.wake(name);
        Ok(place)
    }

    fn wake(&self, stream: &str) {
        self.consumers.iter().filter(|((of, _), _)| of == stream).for_each(|(_, c)| c.news.notify_waiters());
    }
}

fn unknown(stream: &str) -> Fault {
    Fault::Unavailable(format!("there is no stream {stream}"))
}

fn parse<T: serde::de::DeserializeOwned>(file: &str) -> Result<T, Fault> {
    serde_json::from_str(file).map_err(|e| Fault::Refused(format!("not modelled: {e}")))
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn commit(&self, stream: &str, writes: Vec<Write>) -> Result<u64, Fault> {
        self.store(stream, writes)
    }

    async fn publish(&self, stream: &str, writes: Vec<Write>) -> Result<(), Fault> {
        let size = if writes.len() <= FEW { 1 } else { MAX_BATCH };
        let mut outcome = Ok(());
        for part in writes.chunks(size) {
            match self.store(stream, part.to_vec()) {
                Ok(_) | Err(Fault::Exists) => {}
                Err(fault) => outcome = outcome.and(Err(fault)),
            }
        }
        outcome
    }

    async fn get(&self, stream: &str, subject: &str) -> Result<Option<Entry>, Fault> {
        self.look(stream, |stream| stream.newest(subject))
    }

    async fn get_many(&self, stream: &str, subjects: &[String]) -> Result<Vec<Entry>, Fault> {
        self.look(stream, |stream| subjects.iter().filter_map(|subject| stream.newest(subject)).collect())
    }

    async fn list(&self, stream: &str, filter: &str) -> Result<Vec<String>, Fault> {
        self.look(stream, |stream| stream.subjects(filter).take(MAX_SUBJECTS).map(str::to_owned).collect())
    }

    async fn scan(&self, stream: &str, filter: &str) -> Result<BoxStream<'static, Result<Entry, Fault>>, Fault> {
        let mut found: Vec<Entry> =
            self.look(stream, |stream| stream.subjects(filter).filter_map(|subject| stream.newest(subject)).collect())?;
        found.sort_unstable_by_key(|entry| entry.revision);
        Ok(streams::iter(found.into_iter().map(Ok)).boxed())
    }

    async fn purge(&self, stream: &str, subject: &str) -> Result<(), Fault> {
        self.look(stream, |stream| stream.purge(subject))
    }

    async fn subscribe(&self, stream: &str, consumer: &str, prefetch: usize) -> Result<Box<dyn Deliveries>, Fault> {
        let mut state = self.state();
        let key = (stream.to_owned(), consumer.to_owned());
        let news: Arc<Notify> = match state.consumers.get(&key) {
            Some(consumer) => consumer.news.clone(),
            None => return Err(Fault::Unavailable(format!("there is no consumer {consumer} of {stream}"))),
        };
        state.readers += 1;
        Ok(Box::new(Reader::new(self.clone(), key, state.readers, prefetch.max(1), news)))
    }

    async fn acked_upto(&self, stream: &str, consumer: &str) -> Result<u64, Fault> {
        let state = self.state();
        let consumer = state.consumers.get(&(stream.to_owned(), consumer.to_owned()));
        consumer.map(Consumer::acked_upto).ok_or_else(|| unknown(stream))
    }
}
