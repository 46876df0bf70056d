//! Messages that cannot be used go to the stream DEAD, with the reason.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_broker::{Bus, Delivery, Fault, Write, encode};
use serde::Serialize;

use crate::inbox::MAX_MESSAGE;

/// The payload of `dead.results.<place>`.
#[derive(Serialize)]
struct Letter<'a> {
    /// Why the message was not used.
    reason: &'a str,
    /// Its subject.
    subject: &'a str,
    /// Its payload, at most the first 128 KiB; the whole lies in RESULTS at its place.
    payload: String,
    /// Whether the payload is no text and stands here in Base64.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    base64: bool,
}

/// Writes dead letters.
///
/// # Errors
/// [`Fault::Unavailable`], [`Fault::Full`].
pub async fn write(bus: &Bus, dead: &[(&Delivery, &str)]) -> Result<(), Fault> {
    let writes = dead.iter().map(|(message, reason)| {
        tracing::warn!(subject = message.subject, place = message.place, reason, "a message goes to DEAD");
        let body = &message.body[..message.body.len().min(MAX_MESSAGE)];
        let text = std::str::from_utf8(body).ok();
        let payload = text.map_or_else(|| STANDARD.encode(body), str::to_owned);
        let letter = Letter { reason, subject: &message.subject, payload, base64: text.is_none() };
        Ok(Write::new(format!("dead.results.{}", message.place), encode(&letter)?))
    });
    let writes: Vec<Write> = writes.collect::<Result<_, Fault>>()?;
    if writes.is_empty() { Ok(()) } else { bus.publish("DEAD", writes).await }
}
