//! What is written and what is read.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use muster_core::instant::Instant;
use muster_telemetry::trace::Origin;

use crate::{Fault, kv};

/// One message to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub subject: String,
    /// The value; none deletes the key of a bucket.
    pub body: Option<Bytes>,
    /// The revision that the subject must have now; 0 when it must hold nothing.
    pub expect: Option<u64>,
    /// Another subject, which is only read and not written in the same batch, and the revision that it must have.
    pub check: Option<(String, u64)>,
    /// After this the message goes away; whole seconds, at least one.
    pub ttl: Option<Duration>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

impl Write {
    /// A message without conditions.
    pub fn new(subject: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            subject: subject.into(),
            body: Some(body.into()),
            expect: None,
            check: None,
            ttl: None,
            headers: Vec::new(),
        }
    }

    /// A value for a key that must have this revision; 0 when it must not be there.
    pub fn put(bucket: &str, key: &str, body: impl Into<Bytes>, expect: u64) -> Self {
        Self { expect: Some(expect), ..Self::new(kv::subject(bucket, key), body) }
    }

    /// Deletes a key that must have this revision.
    pub fn delete(bucket: &str, key: &str, expect: u64) -> Self {
        Self { body: None, ..Self::put(bucket, key, Bytes::new(), expect) }
    }

    /// The same with a life.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(Duration::from_secs(ttl.as_secs().max(1)));
        self
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with where it comes from in a trace.
    #[must_use]
    pub fn origin(mut self, origin: &Origin) -> Self {
        self.headers.extend(origin.header());
        self
    }
}

/// One stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies.
    pub subject: String,
    /// Its place in the stream: the revision of a key.
    pub revision: u64,
    /// The value; none when the key was deleted and a marker stands for it.
    pub body: Option<Bytes>,
    /// When the server stored it.
    pub at: Instant,
}

/// One message of a consumer.
pub struct Delivery {
    /// Where it was published.
    pub subject: String,
    /// Its headers, but for those that the server reads.
    pub headers: Vec<(String, String)>,
    /// Its payload.
    pub body: Bytes,
    /// Its place in the stream.
    pub place: u64,
    /// When the server stored it.
    pub at: Instant,
    /// How often it was delivered, this time included.
    pub delivery: u64,
    /// How to settle it.
    pub settle: Box<dyn Settle>,
}

impl Delivery {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Where it comes from in a trace.
    pub fn origin(&self) -> Origin {
        Origin::of(|name| self.header(name))
    }
}

/// What a reader can say about a message.
#[async_trait]
pub trait Settle: Send + Sync {
    /// It is done. A lost ack means another delivery.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    async fn ack(&self) -> Result<(), Fault>;
    /// Deliver it again after a while.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    async fn nak(&self, delay: Duration) -> Result<(), Fault>;
    /// It is still being worked on: the time to redelivery starts anew.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    async fn progress(&self) -> Result<(), Fault>;
}
