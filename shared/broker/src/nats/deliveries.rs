//! Messages of a durable pull consumer, and settling them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, AckKind};
use async_nats::{Client, Message, Subject};
use async_trait::async_trait;
use futures::FutureExt;
use muster_core::instant::Instant;
use muster_telemetry::metrics;
use tokio::task::unconstrained;

use super::api::{bounded, jitter};
use super::pull::Pull;
use crate::{Deliveries, Delivery, Fault, Settle};

/// The reader of a consumer; it opens anew what breaks.
pub(super) struct NatsDeliveries {
    client: Arc<Client>,
    stream: String,
    consumer: PullConsumer,
    prefetch: usize,
    pull: Option<Pull>,
    /// Whether the last thing heard was an error, which was logged.
    broken: bool,
}

impl NatsDeliveries {
    /// Opens the reader of a consumer that stands.
    pub(super) async fn open(client: Arc<Client>, stream: &str, name: &str, prefetch: usize) -> Result<Self, Fault> {
        let jetstream = jetstream::new(client.as_ref().clone());
        let what = format!("consumer {name} of {stream}");
        let consumer = bounded(&what, jetstream.get_consumer_from_stream(name, stream)).await?;
        Ok(Self { client, stream: stream.to_owned(), consumer, prefetch: prefetch.max(1), pull: None, broken: false })
    }

    fn name(&self) -> String {
        format!("consumer {} of {}", self.consumer.cached_info().name, self.stream)
    }

    async fn open_pull(&self) -> Result<Pull, Fault> {
        let info = self.consumer.cached_info();
        let group = info.config.priority_groups.first().cloned();
        Pull::open(self.client.clone(), &self.stream, &info.name, group, self.prefetch).await
    }

    /// The next message; it opens the reader where there is none.
    async fn first(&mut self) -> Result<Message, Fault> {
        loop {
            if self.pull.is_none() {
                self.pull = Some(self.open_pull().await?);
            }
            let Some(pull) = self.pull.as_mut() else { continue };
            let error = match pull.next().await {
                Ok(message) => {
                    if std::mem::take(&mut self.broken) {
                        tracing::info!(consumer = self.name(), "messages arrive again");
                    }
                    return Ok(message);
                }
                Err(error) => error,
            };
            // What was prefetched and not read yet is delivered again after the consumer's ack_wait.
            self.pull = None;
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

    /// A message, and how many the consumer still has to hand out.
    fn delivery(&self, message: Message) -> Result<(Delivery, u64), Fault> {
        let unreadable = || Fault::Unavailable(format!("{}: a message without its place", self.name()));
        let reply = message.reply.ok_or_else(unreadable)?;
        let Place { place, delivery, at, pending } = Place::parse(&reply).ok_or_else(unreadable)?;
        let headers = message.headers.iter().flat_map(|headers| headers.iter());
        // Those that the server reads (its life, its place in a batch) have done their work.
        let headers = headers.filter(|(name, _)| !AsRef::<str>::as_ref(name).starts_with("Nats-"));
        let headers =
            headers.flat_map(|(name, values)| values.iter().map(|value| (name.to_string(), value.to_string())));
        let delivery = Delivery {
            subject: message.subject.to_string(),
            headers: headers.collect(),
            body: message.payload,
            place,
            at,
            delivery,
            settle: Box::new(NatsSettle { client: self.client.clone(), reply }),
        };
        Ok((delivery, pending))
    }
}

/// What the reply subject of a message says (ADR-15). Read here: `async-nats` reads it only for a message with a context
/// of its own, each of which starts a task.
#[derive(Debug, PartialEq)]
struct Place {
    place: u64,
    delivery: u64,
    at: Instant,
    pending: u64,
}

impl Place {
    /// `$JS.ACK.<stream>.<consumer>.<delivered>.<place>.<place in the consumer>.<time>.<pending>`; the newer form has domain
    /// and account before the stream, and may have more tokens at the end.
    fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let counts = if tokens.len() > 7 { tokens.get(4..9)? } else { tokens.get(2..7)? };
        let number = |n: usize| counts.get(n)?.parse::<u64>().ok();
        let nanoseconds = i64::try_from(number(3)?).ok()?;
        Some(Self {
            place: number(1)?,
            delivery: number(0)?,
            at: Instant(nanoseconds / 1_000_000),
            pending: number(4)?,
        })
    }
}

#[async_trait]
impl Deliveries for NatsDeliveries {
    // May be dropped while it waits: between the first message and the return nothing waits.
    async fn next(&mut self, max: usize) -> Result<Option<Vec<Delivery>>, Fault> {
        let mut taken = vec![self.first().await?];
        if let Some(pull) = self.pull.as_mut() {
            // Unconstrained: the runtime's budget for a task would end it after some tens of messages. An error comes
            // again or has passed by the next call.
            while taken.len() < max
                && let Some(next) = unconstrained(pull.next()).now_or_never()
            {
                match next {
                    Ok(message) => taken.push(message),
                    Err(_) => {
                        self.pull = None;
                        break;
                    }
                }
            }
        }
        let mut lag = 0;
        let taken = taken.into_iter().map(|message| self.delivery(message).inspect(|(_, pending)| lag = *pending));
        let taken: Vec<Delivery> = taken.map(|read| read.map(|(delivery, _)| delivery)).collect::<Result<_, _>>()?;
        let again = taken.iter().filter(|delivery| delivery.delivery > 1).count();
        metrics::pulled(&self.stream, &self.consumer.cached_info().name, taken.len(), again, lag);
        Ok(Some(taken))
    }

    async fn close(mut self: Box<Self>) {
        let Some(pull) = self.pull.take() else { return };
        let left = pull.close().await;
        tracing::debug!(consumer = self.name(), messages = left.len(), "handed back to another reader");
        for message in left {
            let Some(reply) = message.reply else { continue };
            if let Err(fault) = (NatsSettle { client: self.client.clone(), reply }).nak(Duration::ZERO).await {
                return tracing::warn!(consumer = self.name(), %fault, "messages come again when their time is up");
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_subject_says_the_place() {
        let said = Some(Place { place: 9, delivery: 2, at: Instant(1_700_000_000_123), pending: 7 });
        let counts = "2.9.8.1700000000123456789.7";
        assert_eq!(Place::parse(&format!("$JS.ACK.TASKS.agent-name.{counts}")), said);
        assert_eq!(Place::parse(&format!("$JS.ACK._.account.TASKS.agent-name.{counts}")), said);
        assert_eq!(Place::parse(&format!("$JS.ACK.hub.account.TASKS.agent-name.{counts}.token")), said);
        for other in ["", "_INBOX.1", "$JS.ACK.TASKS.agent-name.2.9.8.x.7", "$JS.ACK.TASKS.agent-name.2.9.8"] {
            assert_eq!(Place::parse(other), None, "{other}");
        }
    }
}
