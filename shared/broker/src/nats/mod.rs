//! The broker's primitives on NATS JetStream.

pub(crate) mod api;
mod batch;
mod connect;
mod context;
mod deliveries;
mod link;
mod multi;
mod publish;
mod pull;
mod read;
mod scan;
mod settings;

use std::sync::Arc;

use async_nats::Client;
use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::BoxStream;

pub use connect::connect;
pub use link::NatsLink;
pub use settings::ConnectionSettings;

use crate::{Broker, Deliveries, Entry, Fault, MAX_BATCH, Write};

/// Up to this many independent messages go as single publishes; a batch costs some milliseconds of its own.
const FEW: usize = 16;

/// JetStream over one connection, which is shared by all that is done with this.
pub struct NatsBroker {
    client: Arc<Client>,
    writers: batch::Writers,
    multi: multi::MultiGet,
}

impl NatsBroker {
    /// A broker over a connection of a user with JetStream. Nothing is sent yet.
    pub fn new(client: Client) -> Self {
        let client = Arc::new(client);
        Self { multi: multi::MultiGet::new(client.clone()), writers: batch::Writers::default(), client }
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

#[async_trait]
impl Broker for NatsBroker {
    async fn commit(&self, stream: &str, writes: Vec<Write>) -> Result<u64, Fault> {
        let stored = match writes.as_slice() {
            [] => Err(Fault::Refused("a batch of nothing".into())),
            [one] if one.check.is_none() => publish::single(&self.client, stream, one).await,
            many if many.len() > MAX_BATCH => Err(Fault::Refused(format!("a batch of {} messages", many.len()))),
            many => self.writers.commit(&self.client, stream, many).await,
        };
        if stored.is_ok() {
            muster_telemetry::metrics::committed(stream, writes.len());
        }
        stored
    }

    async fn publish(&self, stream: &str, writes: Vec<Write>) -> Result<(), Fault> {
        let stored = |result: Result<u64, Fault>| match result {
            Ok(_) | Err(Fault::Exists) => Ok(()),
            Err(fault) => Err(fault),
        };
        if writes.len() <= FEW {
            let all = join_all(writes.into_iter().map(|write| self.commit(stream, vec![write]))).await;
            return all.into_iter().try_for_each(stored);
        }
        if writes.len() <= MAX_BATCH {
            return stored(self.commit(stream, writes).await);
        }
        let batches = join_all(writes.chunks(MAX_BATCH).map(|part| self.commit(stream, part.to_vec()))).await;
        batches.into_iter().try_for_each(stored)
    }

    async fn get(&self, stream: &str, subject: &str) -> Result<Option<Entry>, Fault> {
        read::from_leader(&self.client, stream, subject).await
    }

    async fn get_many(&self, stream: &str, subjects: &[String]) -> Result<Vec<Entry>, Fault> {
        self.multi.get(stream, subjects).await
    }

    async fn list(&self, stream: &str, filter: &str) -> Result<Vec<String>, Fault> {
        read::list(&self.client, stream, filter).await
    }

    async fn scan(&self, stream: &str, filter: &str) -> Result<BoxStream<'static, Result<Entry, Fault>>, Fault> {
        scan::scan(&self.client, stream, filter).await
    }

    async fn purge(&self, stream: &str, subject: &str) -> Result<(), Fault> {
        read::purge(&self.client, stream, subject).await
    }

    async fn subscribe(&self, stream: &str, consumer: &str, prefetch: usize) -> Result<Box<dyn Deliveries>, Fault> {
        Ok(Box::new(deliveries::NatsDeliveries::open(self.client.clone(), stream, consumer, prefetch).await?))
    }

    async fn acked_upto(&self, stream: &str, consumer: &str) -> Result<u64, Fault> {
        read::acked_upto(&self.client, stream, consumer).await
    }
}
