//! Dead letters: messages that were parked because they cannot be used. The payload of `dead.<stream>.<place>`, with the
//! stream's name in lower case.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// At most so much of a message is kept in its letter, in bytes; the whole lies in its stream at its place.
pub const MAX_KEPT: usize = 128 * 1024;

/// A message that was parked, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The stream that it came from.
    pub stream: String,
    /// Its place there.
    pub place: u64,
    /// Its subject.
    pub subject: String,
    /// Why it cannot be used.
    pub reason: String,
    /// Its payload, at most the first [`MAX_KEPT`] bytes of it.
    pub body: String,
    /// Whether the payload is no text and stands here in Base64.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub base64: bool,
    /// The length of the whole payload in bytes.
    pub size: u64,
}

impl DeadLetter {
    /// The letter for a message.
    pub fn new(stream: &str, place: u64, subject: &str, payload: &[u8], reason: &str) -> Self {
        let (body, base64) = match std::str::from_utf8(payload) {
            Ok(text) => (text[..text.floor_char_boundary(MAX_KEPT)].to_owned(), false),
            Err(_) => (STANDARD.encode(&payload[..payload.len().min(MAX_KEPT)]), true),
        };
        let (stream, subject, reason) = (stream.to_owned(), subject.to_owned(), reason.to_owned());
        Self { stream, place, subject, reason, body, base64, size: payload.len() as u64 }
    }

    /// Where it is stored.
    pub fn at(&self) -> String {
        format!("dead.{}.{}", self.stream.to_lowercase(), self.place)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_letter_keeps_text_as_text_and_the_rest_in_base64() {
        let letter = DeadLetter::new("TASKS", 7, "tasks.x", b"{", "no JSON");
        assert_eq!((letter.at().as_str(), letter.body.as_str(), letter.base64), ("dead.tasks.7", "{", false));
        let letter = DeadLetter::new("RESULTS", 7, "facts.x", &[0xff; 10], "no text");
        assert_eq!((STANDARD.decode(letter.body).unwrap(), letter.base64), (vec![0xff; 10], true));
    }

    #[test]
    fn a_letter_fits_into_a_message_whatever_it_is_about() {
        for payload in
            ["\u{1}".repeat(900_000).into_bytes(), "\u{20ac}".repeat(300_000).into_bytes(), vec![0xff; 900_000]]
        {
            let letter = DeadLetter::new("TASKS", u64::MAX, "tasks.x", &payload, "too large");
            assert_eq!(letter.size, 900_000);
            assert!(serde_json::to_vec(&letter).unwrap().len() < 900_000);
        }
    }
}
