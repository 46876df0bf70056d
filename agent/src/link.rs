//! The way to the gateway: connections that come back by themselves, and requests.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message};
use bytes::Bytes;
use muster_core::message::Refused;
use muster_core::problem::{Refusal, in_words};
use muster_telemetry::trace::Origin;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;

/// How long an answer is waited for.
pub const ANSWER: Duration = Duration::from_secs(10);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// Before an attempt to connect again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// How long the server may take for an attempt to connect: longer than it waits for the gateway.
const CONNECT: Duration = Duration::from_secs(8);
/// A connection that has stood so long was not about to be refused.
const STANDS: Duration = Duration::from_secs(10);

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How somebody reaches the server, and who it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// One or more addresses, separated by commas, such as `nats://127.0.0.1:4222`.
    pub url: String,
    /// The seed of its nkey.
    pub seed: Secret,
    /// What lets it enrol, when it is no agent yet.
    pub token: Option<Secret>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// No gateway heard it, or none answered in time. It may be asked again.
    #[error("no gateway answers: {0}")]
    Silence(String),
    /// The gateway refuses it.
    #[error("the gateway refuses: {}", in_words(.0))]
    Refused(Refusal),
    /// The answer is none.
    #[error("the gateway's answer cannot be read: {0}")]
    Garbled(String),
}

impl Unanswered {
    /// Whether the refusal has this code.
    pub fn is(&self, code: &str) -> bool {
        matches!(self, Self::Refused(problems) if problems.iter().any(|problem| problem.code == code))
    }

    /// Whether the same request may be answered later.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Refused(_)) || self.is("unavailable") || self.is("slow-down")
    }
}

impl Access {
    /// Connects, as long as it takes, and again whenever the connection is lost or refused: a refusal never says that
    /// an agent is deleted, since it comes too when no gateway is there to say who somebody is. Answers come to
    /// `_INBOX.<inbox>.>`; `connected` is told each time the connection seems to stand.
    ///
    /// # Errors
    /// When the address is none.
    pub async fn connect(&self, inbox: &str, connected: Option<UnboundedSender<()>>) -> anyhow::Result<Client> {
        let options = ConnectOptions::with_nkey(self.seed.0.clone());
        let options = match &self.token {
            Some(token) => options.token(token.0.clone()),
            None => options,
        };
        let patience = Arc::new(Patience::default());
        let stands = patience.clone();
        let options = options
            .name(format!("muster-agent {inbox}"))
            .custom_inbox_prefix(format!("_INBOX.{inbox}"))
            .connection_timeout(CONNECT)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(move |_| patience.pause())
            .event_callback(move |event| {
                match &event {
                    Event::Connected => {
                        stands.connected();
                        let _ = connected.as_ref().map(|told| told.send(()));
                    }
                    Event::ServerError(_) | Event::ClientError(_) => tell(&event.to_string()),
                    _ => {}
                }
                std::future::ready(())
            });
        let addresses: Vec<&str> = self.url.split(',').map(str::trim).collect();
        Ok(options.connect(addresses).await?)
    }
}

fn tell(event: &str) {
    if event.to_lowercase().contains("authorization violation") {
        tracing::warn!(
            "the server does not let this agent in: no gateway is there to say who it is, or its token is not valid, or \
             it was deleted; it goes on with what it has and tries again"
        );
    } else {
        tracing::warn!(event, "the connection");
    }
}

/// The pauses between attempts to connect. The client's own count begins anew with each connection that seems to
/// stand, also with one that the server is about to refuse.
#[derive(Default)]
struct Patience(Mutex<(usize, Option<Instant>)>);

impl Patience {
    fn connected(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(Instant::now());
    }

    fn pause(&self) -> Duration {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (tried, since) = &mut *all;
        if since.take().is_some_and(|since| since.elapsed() >= STANDS) {
            *tried = 1;
        }
        *tried += 1;
        // Only the very first attempt is made at once: agents that lost their server together are many.
        if *tried == 1 { Duration::ZERO } else { pause(*tried - 1, FIRST_PAUSE) }
    }
}

/// A pause that doubles with each attempt from `first` up to two minutes, of which a random half is left out: agents that
/// lost their server together do not come back together.
pub fn pause(attempt: usize, first: Duration) -> Duration {
    let factor = 1_u32 << attempt.saturating_sub(1).min(16);
    jittered(first.saturating_mul(factor).min(LONGEST_PAUSE))
}

/// Between a half and the whole of it.
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Asks the gateway. The question carries the current trace.
///
/// # Errors
/// When there is no answer, a refusal, or one that is not of this form.
pub async fn ask<T: DeserializeOwned>(
    client: &Client,
    subject: String,
    question: &impl Serialize,
) -> Result<T, Unanswered> {
    let question = serde_json::to_vec(question).map_err(|error| Unanswered::Garbled(error.to_string()))?;
    ask_bytes(client, subject, question.into()).await
}

/// Asks the gateway with a question that is bytes.
///
/// # Errors
/// As [`ask`].
pub async fn ask_bytes<T: DeserializeOwned>(
    client: &Client,
    subject: String,
    question: Bytes,
) -> Result<T, Unanswered> {
    read(&answer(client, subject, question).await?.payload)
}

/// The gateway's answer as it came, be it a refusal.
///
/// # Errors
/// When there is none.
pub async fn answer(client: &Client, subject: String, question: Bytes) -> Result<Message, Unanswered> {
    let mut request = async_nats::Request::new().payload(question).timeout(Some(ANSWER));
    if let Some((name, value)) = Origin::current().header() {
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        request = request.headers(headers);
    }
    client.send_request(subject, request).await.map_err(|error| Unanswered::Silence(error.to_string()))
}

/// What an answer says.
///
/// # Errors
/// When it is a refusal, or not of this form.
pub fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Unanswered> {
    if let Ok(refused) = serde_json::from_slice::<Refused>(answer) {
        return Err(Unanswered::Refused(refused.errors));
    }
    serde_json::from_slice(answer).map_err(|error| Unanswered::Garbled(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_minutes_and_are_spread() {
        for attempt in 0..100 {
            let first = Duration::from_millis(250);
            let pause = pause(attempt, first);
            assert!(pause >= first / 2 && pause <= LONGEST_PAUSE);
        }
        assert!(pause(20, Duration::from_secs(1)) >= LONGEST_PAUSE / 2);
    }

    #[test]
    fn a_connection_that_is_refused_after_a_moment_does_not_shorten_the_pauses() {
        let patience = Patience::default();
        assert_eq!(patience.pause(), Duration::ZERO);
        for _ in 0..20 {
            patience.connected();
            patience.pause();
        }
        assert!(patience.pause() >= LONGEST_PAUSE / 2);
        let long_ago = Instant::now().checked_sub(STANDS);
        patience.0.lock().unwrap_or_else(PoisonError::into_inner).1 = long_ago;
        assert!(long_ago.is_none() || patience.pause() <= FIRST_PAUSE);
    }

    #[test]
    fn secrets_are_not_shown() {
        let access = Access { url: "u".into(), seed: Secret("S1".into()), token: Some(Secret("T1".into())) };
        let shown = format!("{access:?}");
        assert!(!shown.contains("S1") && !shown.contains("T1"), "{shown}");
    }
}
