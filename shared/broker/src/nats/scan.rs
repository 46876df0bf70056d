//! All entries under a filter, by a consumer that lives as long as the scan.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, Message};
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use muster_core::instant::Instant;
use serde_json::{Value, json};

use super::api::{bounded, call};
use super::read::marks_deletion;
use crate::{Entry, Fault};

const BATCH: usize = 2000;
/// After so long without a message the consumer is asked whether there is one: what was to come may have been removed.
const QUIET: Duration = Duration::from_secs(1);
/// The server removes the consumer of a scan that was given up after this.
const ABANDONED: Duration = Duration::from_secs(30);

/// The newest message of every subject under a filter. It ends when nothing is left to deliver.
pub(super) async fn scan(
    client: &Client,
    stream: &str,
    filter: &str,
) -> Result<BoxStream<'static, Result<Entry, Fault>>, Fault> {
    let jetstream = jetstream::new(client.clone());
    let config = pull::Config {
        name: Some(format!("scan-{}", nuid::next())),
        deliver_policy: DeliverPolicy::LastPerSubject,
        ack_policy: AckPolicy::None,
        filter_subject: filter.to_owned(),
        inactive_threshold: ABANDONED,
        memory_storage: true,
        num_replicas: 1,
        ..Default::default()
    };
    let what = format!("scan of {stream}");
    let consumer = bounded(&what, jetstream.create_consumer_on_stream(config, stream)).await?;
    let pending = consumer.cached_info().num_pending;
    let mut scan = Scan { client: client.clone(), what, stream: stream.to_owned(), consumer, messages: None, seen: 0 };
    if pending == 0 {
        scan.remove().await;
        return Ok(futures::stream::empty().boxed());
    }
    scan.messages = Some(scan.open().await?);
    Ok(try_unfold(scan, Scan::next).boxed())
}

struct Scan {
    client: Client,
    what: String,
    stream: String,
    consumer: jetstream::consumer::PullConsumer,
    /// None once the last entry is out.
    messages: Option<pull::Stream>,
    /// How many messages came; the consumer numbers them.
    seen: u64,
}

impl Scan {
    async fn open(&self) -> Result<pull::Stream, Fault> {
        let builder = self.consumer.stream().max_messages_per_batch(BATCH).heartbeat(Duration::from_secs(5));
        bounded(&self.what, builder.messages()).await
    }

    async fn next(mut self) -> Result<Option<(Entry, Self)>, Fault> {
        let Some(mut messages) = self.messages.take() else {
            return Ok(None);
        };
        let message = loop {
            match tokio::time::timeout(QUIET, messages.next()).await {
                Ok(Some(Ok(message))) => break message,
                Ok(Some(Err(e))) => return Err(self.fault(e)),
                Ok(None) => return Err(self.fault("it was ended")),
                Err(_) => {
                    if self.is_done().await? {
                        self.remove().await;
                        return Ok(None);
                    }
                }
            }
        };
        let (entry, number, pending) = self.entry(message)?;
        self.seen += 1;
        if number != self.seen {
            return Err(self.fault("a message was lost"));
        }
        if pending > 0 {
            self.messages = Some(messages);
        } else {
            self.remove().await;
        }
        Ok(Some((entry, self)))
    }

    fn entry(&self, message: Message) -> Result<(Entry, u64, u64), Fault> {
        let info = message.info().map_err(|e| self.fault(e))?;
        let (revision, number, pending) = (info.stream_sequence, info.consumer_sequence, info.pending);
        let at = Instant::from_offset(info.published);
        let deleted = message.headers.as_ref().is_some_and(marks_deletion);
        let (subject, payload) = (message.subject.to_string(), message.message.payload);
        Ok((Entry { subject, revision, body: (!deleted).then_some(payload), at }, number, pending))
    }

    /// Whether all that the consumer has was delivered and came.
    async fn is_done(&self) -> Result<bool, Fault> {
        let info: Value =
            call(&self.client, &format!("CONSUMER.INFO.{}.{}", self.stream, self.name()), &json!({})).await?;
        let sent = info["delivered"]["consumer_seq"].as_u64();
        Ok(info["num_pending"].as_u64() == Some(0) && sent == Some(self.seen))
    }

    fn name(&self) -> &str {
        &self.consumer.cached_info().name
    }

    /// Streams have room for some tens of consumers only. That it fails matters not: the server does it later.
    async fn remove(&self) {
        let subject = format!("CONSUMER.DELETE.{}.{}", self.stream, self.name());
        let _ = call::<Value>(&self.client, &subject, &json!({})).await;
    }

    fn fault(&self, why: impl std::fmt::Display) -> Fault {
        Fault::Unavailable(format!("{}: {why}", self.what))
    }
}
