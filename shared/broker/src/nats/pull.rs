//! The pull requests of one reader: renewed before they are used up, so that messages flow without a pause, and ended
//! so that none is lost on the way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Client, Message, StatusCode, Subscriber};
use futures::StreamExt;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::api::bounded;
use crate::{Fault, encode};

/// A request is renewed at least this often. For a consumer with one pinned reader it must stay below the consumer's
/// `priority_timeout`, since a request is the reader's sign of life.
const EXPIRES: Duration = Duration::from_secs(4);
/// The server says this often that a request is still open.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How often the reader looks whether the connection was lost in between: requests do not outlive it.
const LOOK: Duration = Duration::from_millis(250);
/// How long the server may take to confirm the end.
const GRACE: Duration = Duration::from_secs(2);

/// The payload of `$JS.API.CONSUMER.MSG.NEXT.<stream>.<consumer>` (ADR-13 and ADR-42), times in nanoseconds.
#[derive(Serialize)]
struct Request<'a> {
    batch: usize,
    expires: u128,
    idle_heartbeat: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

/// An open reader.
pub(super) struct Pull {
    client: Arc<Client>,
    subject: String,
    inbox: String,
    arrived: Subscriber,
    /// The priority group, for a consumer with one pinned reader.
    group: Option<String>,
    /// What names this reader as the pinned one.
    pin: Option<String>,
    batch: usize,
    /// So many messages may still come on the open requests.
    open: usize,
    heard: Instant,
    connects: u64,
}

impl Pull {
    /// Opens a reader that is at most about one and a half `batch` ahead.
    pub(super) async fn open(
        client: Arc<Client>,
        stream: &str,
        consumer: &str,
        group: Option<String>,
        batch: usize,
    ) -> Result<Self, Fault> {
        let inbox = client.new_inbox();
        let arrived = bounded("subscribe", client.subscribe(inbox.clone())).await?;
        let connects = client.statistics().connects.load(Ordering::Relaxed);
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        Ok(Self { client, subject, inbox, arrived, group, pin: None, batch, open: 0, heard: Instant::now(), connects })
    }

    /// The next message. Nothing is lost when this is dropped while it waits.
    ///
    /// # Errors
    /// Why the reader must be opened anew.
    pub(super) async fn next(&mut self) -> Result<Message, String> {
        loop {
            if self.open <= self.batch / 2 {
                self.request().await.map_err(|fault| fault.to_string())?;
            }
            tokio::select! {
                biased;
                message = self.arrived.next() => {
                    self.heard = Instant::now();
                    if let Some(message) = self.judge(message.ok_or("the connection is closed")?)? {
                        return Ok(message);
                    }
                }
                () = sleep(LOOK) => self.look()?,
            }
        }
    }

    /// Ends the reader, and gives what has arrived and was not read.
    pub(super) async fn close(mut self) -> Vec<Message> {
        let mut left = Vec::new();
        if self.arrived.drain().await.is_ok() {
            while let Ok(Some(message)) = timeout(GRACE, self.arrived.next()).await {
                left.extend(message.status.is_none().then_some(message));
            }
        }
        left
    }

    async fn request(&mut self) -> Result<(), Fault> {
        let (group, id) = (self.group.as_deref(), self.pin.as_deref());
        let (expires, idle_heartbeat) = (EXPIRES.as_nanos(), HEARTBEAT.as_nanos());
        let request = encode(&Request { batch: self.batch, expires, idle_heartbeat, group, id })?;
        let sent = self.client.publish_with_reply(self.subject.clone(), self.inbox.clone(), request);
        bounded(&self.subject, sent).await?;
        self.open += self.batch;
        self.heard = Instant::now();
        Ok(())
    }

    /// A message of the stream; none when it is one about the requests.
    fn judge(&mut self, message: Message) -> Result<Option<Message>, String> {
        let header = |name: &str| message.headers.as_ref()?.get(name).map(|value| value.as_str().to_owned());
        match message.status {
            None => {
                self.open = self.open.saturating_sub(1);
                if self.group.is_some() {
                    self.pin = header("Nats-Pin-Id").or(self.pin.take());
                }
                return Ok(Some(message));
            }
            Some(StatusCode::IDLE_HEARTBEAT) => return Ok(None),
            Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT | StatusCode::REQUEST_TERMINATED) => {}
            Some(StatusCode::PIN_ID_MISMATCH) => self.pin = None,
            Some(status) => return Err(format!("the server says {status}")),
        }
        let why = message.description.as_deref().unwrap_or_default();
        if why.starts_with("Consumer Deleted") || why.starts_with("Consumer is push") || why.starts_with("Exceeded") {
            return Err(why.to_owned());
        }
        // A request has ended; it says how many messages it would still have brought.
        let unused = header("Nats-Pending-Messages").and_then(|unused| unused.parse().ok()).unwrap_or(self.batch);
        self.open = self.open.saturating_sub(unused);
        Ok(None)
    }

    /// Looks whether the requests are still open.
    fn look(&mut self) -> Result<(), String> {
        let connects = self.client.statistics().connects.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.connects, connects) != connects {
            self.open = 0;
        } else if self.heard.elapsed() > 2 * HEARTBEAT {
            return Err("the server's heartbeats are missing".to_owned());
        }
        Ok(())
    }
}
