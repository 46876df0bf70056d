//! The way to the gateway: connections that come back by themselves, and requests.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use muster_core::message::Refused;
use muster_core::problem::Refusal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How agents reach the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// One or more addresses, separated by commas, such as `nats://127.0.0.1:4222`.
    pub url: String,
    /// The user in the agents' account.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// No gateway heard it, or none answered in time. It may be asked again.
    #[error("no gateway answers: {0}")]
    Silence(String),
    /// The gateway refuses it.
    #[error("the gateway refuses: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
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
    /// Connects, as long as it takes, and again whenever the connection is lost. Answers come to `_INBOX.<inbox>.>`;
    /// `connected` is told each time the connection stands.
    ///
    /// # Errors
    /// When the address is none.
    pub async fn connect(&self, inbox: &str, connected: Option<UnboundedSender<()>>) -> anyhow::Result<Client> {
        let options = ConnectOptions::with_user_and_password(self.user.clone(), self.password.clone())
            .name(format!("muster-agent {inbox}"))
            .custom_inbox_prefix(format!("_INBOX.{inbox}"))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(|attempt| pause(attempt, Duration::from_millis(250)))
            .event_callback(move |event| {
                match &event {
                    Event::Connected => {
                        let _ = connected.as_ref().map(|told| told.send(()));
                    }
                    Event::ServerError(_) | Event::ClientError(_) => tracing::warn!(%event, "the connection"),
                    _ => {}
                }
                std::future::ready(())
            });
        let addresses: Vec<&str> = self.url.split(',').map(str::trim).collect();
        Ok(options.connect(addresses).await?)
    }
}

/// A pause that doubles with each attempt from `first` up to a minute, of which a random half is left out: agents that
/// lost their server together do not come back together.
pub fn pause(attempt: usize, first: Duration) -> Duration {
    let factor = 1_u32 << attempt.saturating_sub(1).min(16);
    jittered(first.saturating_mul(factor).min(LONGEST_PAUSE))
}

/// Between a half and the whole of it.
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Asks the gateway.
///
/// # Errors
/// When there is no answer, a refusal, or one that is not of this form.
pub async fn ask<T: DeserializeOwned>(
    client: &Client,
    subject: String,
    question: &impl Serialize,
) -> Result<T, Unanswered> {
    let question = serde_json::to_vec(question).map_err(|error| Unanswered::Garbled(error.to_string()))?;
    let request = async_nats::Request::new().payload(question.into()).timeout(Some(ANSWER));
    let answer = client.send_request(subject, request).await.map_err(|error| Unanswered::Silence(error.to_string()))?;
    if let Ok(refused) = serde_json::from_slice::<Refused>(&answer.payload) {
        return Err(Unanswered::Refused(refused.errors));
    }
    serde_json::from_slice(&answer.payload).map_err(|error| Unanswered::Garbled(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_are_spread() {
        for attempt in 0..100 {
            let first = Duration::from_millis(250);
            let pause = pause(attempt, first);
            assert!(pause >= first / 2 && pause <= LONGEST_PAUSE);
        }
        assert!(pause(20, Duration::from_secs(1)) >= LONGEST_PAUSE / 2);
    }
}
