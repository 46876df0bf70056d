//! The broker's primitives that the protocol rests on, behind a trait, so that the same steps run on NATS and in a
//! simulation. One conformance suite holds every implementation to the same semantics.

mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod fault;
pub mod kv;
mod link;
#[cfg(feature = "memory")]
pub mod memory;
mod message;
pub mod nats;
pub mod topology;
mod txn;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use clock::{Clock, SystemClock};
pub use fault::Fault;
pub use link::{Link, Pushed};
pub use message::{Delivery, Entry, Settle, Write};
pub use txn::{Txn, decode, encode};

/// At most this many messages in one batch: the server's limit.
pub const MAX_BATCH: usize = 1000;

/// A broker that many tasks share.
pub type Bus = Arc<dyn Broker>;

/// Streams with batches, reads and consumers.
#[async_trait]
pub trait Broker: Send + Sync {
    /// At most so many messages should be put into one batch; [`MAX_BATCH`] unless it is a small one, as simulations use.
    fn max_batch(&self) -> usize {
        MAX_BATCH
    }

    /// Stores all writes of one stream or none of them, and gives the place of the last one. Each subject at most
    /// once, at most [`MAX_BATCH`] messages.
    ///
    /// # Errors
    /// [`Fault::Conflict`] when an expectation or check does not hold, [`Fault::Exists`] when an insert-once subject
    /// holds a message. After [`Fault::Unavailable`] it is not known whether the batch was stored: repeat it.
    async fn commit(&self, stream: &str, writes: Vec<Write>) -> Result<u64, Fault>;

    /// Stores writes that need not stand together: the quickest way for their number, pipelined singles when they are
    /// few, batches when they are many. An insert-once subject that holds a message counts as stored, and with it the
    /// batch it is in: a set that may be repeated is always given whole and in the same order.
    ///
    /// # Errors
    /// As for [`Broker::commit`]; some may be stored when others are not: repeat all.
    async fn publish(&self, stream: &str, writes: Vec<Write>) -> Result<(), Fault>;

    /// The newest message of a subject, read from the leader, so that it is never stale.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    async fn get(&self, stream: &str, subject: &str) -> Result<Option<Entry>, Fault>;

    /// The newest message of each subject that has one, in no order; it may be stale where there are replicas.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    async fn get_many(&self, stream: &str, subjects: &[String]) -> Result<Vec<Entry>, Fault>;

    /// The subjects under a filter that hold a message, be it a marker, sorted; at most 100,000 are named.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    async fn list(&self, stream: &str, filter: &str) -> Result<Vec<String>, Fault>;

    /// The newest message of every subject under a filter, in the order of their places, as of now. A subject that
    /// changes during the scan may come as it was, as it is, or both.
    ///
    /// # Errors
    /// [`Fault::Unavailable`], at the start or as an item.
    async fn scan(&self, stream: &str, filter: &str) -> Result<BoxStream<'static, Result<Entry, Fault>>, Fault>;

    /// Removes the messages of a subject.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    async fn purge(&self, stream: &str, subject: &str) -> Result<(), Fault>;

    /// Joins the readers of a durable consumer that stands already.
    ///
    /// # Errors
    /// [`Fault::Unavailable`], also when there is no such consumer.
    async fn subscribe(&self, stream: &str, consumer: &str, prefetch: usize) -> Result<Box<dyn Deliveries>, Fault>;

    /// The place up to which a consumer's readers have acknowledged everything.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    async fn acked_upto(&self, stream: &str, consumer: &str) -> Result<u64, Fault>;
}

/// Messages of a durable consumer.
#[async_trait]
pub trait Deliveries: Send {
    /// Waits for a message, then takes what has arrived, at most `max`. None when it is closed for ever. Nothing is
    /// lost when this is dropped while it waits.
    ///
    /// # Errors
    /// [`Fault::Unavailable`]: pause a little and call again.
    async fn next(&mut self, max: usize) -> Result<Option<Vec<Delivery>>, Fault>;

    /// Ends the reading and hands back what has arrived and was not taken, so that another reader has it at once. When
    /// this is only dropped, that comes again after the consumer's `ack_wait`. What was taken is not touched.
    async fn close(self: Box<Self>);
}
