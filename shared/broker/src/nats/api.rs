//! Requests to JetStream, bounded in time, and what its error codes mean.

use std::fmt::Display;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, Request, RequestError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Fault;

/// The longest wait for an answer of the server.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The error part of an answer.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ApiError {
    /// The number that says which error it is.
    #[serde(default)]
    pub err_code: u64,
    /// What the server says about it.
    #[serde(default)]
    pub description: String,
}

impl ApiError {
    pub(super) const NO_MESSAGE: u64 = 10037;
    pub(crate) const NO_STREAM: u64 = 10059;
    pub(crate) const NO_CONSUMER: u64 = 10014;
    const CONFLICT: u64 = 10071;
    const TWICE_IN_BATCH: u64 = 10164;
    /// Any failure to store; only the text says which.
    const STORE_FAILED: u64 = 10077;
    const PER_SUBJECT: &str = "maximum messages per subject exceeded";
    const NO_RESOURCES: [u64; 4] = [10002, 10023, 10028, 10047];
    const INCOMPLETE_BATCH: u64 = 10176;
    const TOO_MANY_BATCHES: u64 = 10210;
    const TOO_MANY_WAITING: u64 = 10167;

    /// The batch may be accepted under another id, a little later.
    pub(super) fn again(&self) -> bool {
        matches!(self.err_code, Self::INCOMPLETE_BATCH | Self::TOO_MANY_BATCHES)
    }

    /// What it means to the caller.
    pub(crate) fn fault(&self) -> Fault {
        match self.err_code {
            Self::CONFLICT | Self::TWICE_IN_BATCH => Fault::Conflict,
            Self::STORE_FAILED if self.description == Self::PER_SUBJECT => Fault::Exists,
            Self::STORE_FAILED => Fault::Full(self.to_string()),
            code if Self::NO_RESOURCES.contains(&code) => Fault::Full(self.to_string()),
            Self::NO_STREAM | Self::NO_CONSUMER | Self::TOO_MANY_WAITING => Fault::Unavailable(self.to_string()),
            _ if self.again() => Fault::Unavailable(self.to_string()),
            _ => Fault::Refused(self.to_string()),
        }
    }
}

impl Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.description, self.err_code)
    }
}

/// An answer of JetStream: an error or what was asked for.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Error { error: ApiError },
    Value(T),
}

/// Reads an answer.
pub(super) fn answer<T: DeserializeOwned>(payload: &[u8]) -> Result<Result<T, ApiError>, Fault> {
    match serde_json::from_slice(payload) {
        Ok(Answer::Error { error }) => Ok(Err(error)),
        Ok(Answer::Value(value)) => Ok(Ok(value)),
        Err(e) => Err(Fault::Unavailable(format!("an answer that cannot be read: {e}"))),
    }
}

/// Asks the JetStream API; `subject` without its prefix `$JS.API.`. An error of the API is the inner one.
pub(crate) async fn ask<T: DeserializeOwned>(
    client: &Client,
    subject: &str,
    body: &Value,
) -> Result<Result<T, ApiError>, Fault> {
    let request = Request::new().payload(body.to_string().into());
    answer(&send(client, format!("$JS.API.{subject}"), request).await?)
}

/// As [`ask`], for callers to whom each error is a fault.
pub(crate) async fn call<T: DeserializeOwned>(client: &Client, subject: &str, body: &Value) -> Result<T, Fault> {
    ask(client, subject, body).await?.map_err(|error| error.fault())
}

/// Sends a request and gives the payload of its answer.
pub(super) async fn send(client: &Client, subject: String, request: Request) -> Result<bytes::Bytes, Fault> {
    let what = subject.clone();
    let sent = client.send_request(subject, request.timeout(Some(PATIENCE)));
    // The request's own limit begins only when the connection has taken it, which it does not while it is down.
    match tokio::time::timeout(PATIENCE, sent).await {
        Ok(Ok(message)) => Ok(message.payload),
        Ok(Err(e)) => Err(request_fault(&what, &e)),
        Err(_) => Err(Fault::Unavailable(format!("{what}: no connection"))),
    }
}

fn request_fault(what: &str, e: &RequestError) -> Fault {
    match e.kind() {
        RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
            Fault::Refused(format!("{what}: {e}"))
        }
        _ => Fault::Unavailable(format!("{what}: {e}")),
    }
}

/// Does something with the connection that may have to wait until it is up.
pub(super) async fn bounded<T, E: Display>(what: &str, action: impl Future<Output = Result<T, E>>) -> Result<T, Fault> {
    match tokio::time::timeout(PATIENCE, action).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(Fault::Unavailable(format!("{what}: {e}"))),
        Err(_) => Err(Fault::Unavailable(format!("{what}: no connection"))),
    }
}

/// A duration from `low` to `high`, so that those who failed together do not come back together.
pub(super) fn jitter(low: Duration, high: Duration) -> Duration {
    // Each RandomState has keys of its own.
    let random = RandomState::new().build_hasher().finish() % 1024;
    low + (high - low) * u32::try_from(random).unwrap_or(0) / 1024
}
