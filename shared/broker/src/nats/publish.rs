//! One message: its headers, and a publish whose answer is awaited.

use std::str::FromStr;

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Request};
use serde::Deserialize;

use super::api::{answer, send};
use crate::{Fault, Write};

pub(super) const OPERATION: &str = "KV-Operation";
const EXPECT: &str = "Nats-Expected-Last-Subject-Sequence";
const EXPECT_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
const TTL: &str = "Nats-TTL";

/// The answer to a publish.
#[derive(Debug, Deserialize)]
pub(super) struct Ack {
    stream: String,
    seq: u64,
}

impl Ack {
    /// The place, if the message went where it was meant to go.
    pub(super) fn place(self, stream: &str) -> Result<u64, Fault> {
        if self.stream == stream {
            return Ok(self.seq);
        }
        Err(Fault::Refused(format!("the stream {} took what was meant for {stream}", self.stream)))
    }
}

/// Stores one message that does not check another subject.
pub(super) async fn single(client: &Client, stream: &str, write: &Write) -> Result<u64, Fault> {
    let request = Request::new().headers(headers(write)?).payload(write.body.clone().unwrap_or_default());
    let payload = send(client, write.subject.clone(), request).await?;
    answer::<Ack>(&payload)?.map_err(|error| error.fault())?.place(stream)
}

/// The headers of a message.
pub(super) fn headers(write: &Write) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    for (name, value) in &write.headers {
        let bad = |e: &dyn std::fmt::Display| Fault::Refused(format!("header '{}': {e}", name.escape_default()));
        let value = HeaderValue::from_str(value).map_err(|e| bad(&e))?;
        headers.append(HeaderName::from_str(name).map_err(|e| bad(&e))?, value);
    }
    match (write.expect, &write.check) {
        (Some(_), Some(_)) => {
            return Err(Fault::Refused(format!("{}: a message carries one expectation", write.subject)));
        }
        (Some(revision), None) => headers.insert(EXPECT, revision.to_string()),
        (None, Some((subject, revision))) => {
            headers.insert(EXPECT, revision.to_string());
            headers.insert(EXPECT_SUBJECT, subject.as_str());
        }
        (None, None) => {}
    }
    if write.body.is_none() {
        headers.insert(OPERATION, "DEL");
    }
    if let Some(ttl) = write.ttl {
        // The server takes whole seconds, from one on.
        headers.insert(TTL, ttl.as_secs().max(1).to_string());
    }
    Ok(headers)
}
