//! Messages of a durable pull consumer, and settling them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, AckKind, Message};
use async_nats::{Client, Subject};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use muster_core::instant::Instant;
use tokio::task::unconstrained;

use super::api::{bounded, jitter};
use crate::{Deliveries, Delivery, Fault, Settle};

/// A pull is renewed at least this often. For a consumer with one pinned reader it must stay below the consumer's
/// `priority_timeout`, since a pull is the reader's sign of life.
const PULL: Duration = Duration::from_secs(4);
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The reader of a consumer; it opens anew what breaks.
pub(super) struct NatsDeliveries {
    client: Arc<Client>,
    stream: String,
    consumer: PullConsumer,
    prefetch: usize,
    messages: Option<pull::Stream>,
    /// Whether the last thing heard was an error, which was logged.
    broken: bool,
}

impl NatsDeliveries {
    /// Opens the reader of a consumer that stands.
    pub(super) async fn open(client: Arc<Client>, stream: &str, name: &str, prefetch: usize) -> Result<Self, Fault> {
        let jetstream = jetstream::new(client.as_ref().clone());
        let what = format!("consumer {name} of {stream}");
        let consumer = bounded(&what, jetstream.get_consumer_from_stream(name, stream)).await?;
        Ok(Self {
            client,
            stream: stream.to_owned(),
            consumer,
            prefetch: prefetch.max(1),
            messages: None,
            broken: false,
        })
    }

    fn name(&self) -> String {
        format!("consumer {} of {}", self.consumer.cached_info().name, self.stream)
    }

    async fn pull(&self) -> Result<pull::Stream, Fault> {
        let mut builder =
            self.consumer.stream().max_messages_per_batch(self.prefetch).expires(PULL).heartbeat(HEARTBEAT);
        if let Some(group) = self.consumer.cached_info().config.priority_groups.first() {
            builder = builder.group(group);
        }
        bounded(&self.name(), builder.messages()).await
    }

    /// The next message; it opens the stream where there is none.
    async fn first(&mut self) -> Result<Message, Fault> {
        loop {
            if self.messages.is_none() {
                self.messages = Some(self.pull().await?);
            }
            let Some(messages) = self.messages.as_mut() else { continue };
            let error = match messages.next().await {
                Some(Ok(message)) => {
                    if std::mem::take(&mut self.broken) {
                        tracing::info!(consumer = self.name(), "messages arrive again");
                    }
                    return Ok(message);
                }
                Some(Err(e)) => e.to_string(),
                None => "the stream of messages has ended".to_owned(),
            };
            // What was prefetched and not read yet is delivered again after the consumer's ack_wait.
            self.messages = None;
            if !std::mem::replace(&mut self.broken, true) {
                tracing::warn!(consumer = self.name(), error, "reading the consumer anew");
            }
            tokio::time::sleep(jitter(Duration::from_millis(100), Duration::from_millis(400))).await;
            // Fails while the server is away or when the consumer is gone; the caller is told then.
            let jetstream = jetstream::new(self.client.as_ref().clone());
            let consumer = self.consumer.cached_info().name.clone();
            self.consumer = bounded(&self.name(), jetstream.get_consumer_from_stream(consumer, &self.stream)).await?;
        }
    }

    fn delivery(&self, message: Message) -> Result<Delivery, Fault> {
        let unreadable = |e: &dyn std::fmt::Display| Fault::Unavailable(format!("{}: {e}", self.name()));
        let info = message.info().map_err(|e| unreadable(&e))?;
        let (place, delivery) = (info.stream_sequence, u64::try_from(info.delivered).unwrap_or(1));
        let at = Instant::from_offset(info.published);
        let message = message.message;
        let reply = message.reply.ok_or_else(|| unreadable(&"a message without a reply subject"))?;
        let headers = message.headers.iter().flat_map(|headers| headers.iter());
        let headers =
            headers.flat_map(|(name, values)| values.iter().map(|value| (name.to_string(), value.to_string())));
        Ok(Delivery {
            subject: message.subject.to_string(),
            headers: headers.collect(),
            body: message.payload,
            place,
            at,
            delivery,
            settle: Box::new(NatsSettle { client: self.client.clone(), reply }),
        })
    }
}

#[async_trait]
impl Deliveries for NatsDeliveries {
    // May be dropped while it waits: between the first message and the return nothing waits.
    async fn next(&mut self, max: usize) -> Result<Option<Vec<Delivery>>, Fault> {
        let mut taken = vec![self.first().await?];
        if let Some(messages) = self.messages.as_mut() {
            while taken.len() < max {
                // Unconstrained: the runtime's budget for a task would end it after some tens of messages. An error
                // comes again or has passed by the next call.
                match unconstrained(messages.next()).now_or_never() {
                    Some(Some(Ok(message))) => taken.push(message),
                    Some(Some(Err(_)) | None) => {
                        self.messages = None;
                        break;
                    }
                    None => break,
                }
            }
        }
        taken.into_iter().map(|message| self.delivery(message)).collect::<Result<_, _>>().map(Some)
    }
}

struct NatsSettle {
    client: Arc<Client>,
    reply: Subject,
}

impl NatsSettle {
    async fn say(&self, kind: AckKind) -> Result<(), Fault> {
        bounded("settling", self.client.publish(self.reply.clone(), kind.into())).await
    }
}

#[async_trait]
impl Settle for NatsSettle {
    async fn ack(&self) -> Result<(), Fault> {
        self.say(AckKind::Ack).await
    }

    async fn nak(&self, delay: Duration) -> Result<(), Fault> {
        self.say(AckKind::Nak(Some(delay))).await
    }

    async fn progress(&self) -> Result<(), Fault> {
        self.say(AckKind::Progress).await
    }
}
