//! Parking: nothing is dropped silently.

use std::collections::BTreeMap;

use muster_broker::{Bus, Delivery, Fault, Write, encode};
use muster_core::dead::DeadLetter;

/// The stream of what was parked.
const DEAD: &str = "DEAD";

/// Stores a dead letter for each of these messages of a stream, with the reason. Afterwards they may be acknowledged.
///
/// # Errors
/// [`Fault::Unavailable`], [`Fault::Full`]: some may be stored when others are not; repeat all.
pub async fn dead_letters(bus: &Bus, stream: &str, dead: &[(&Delivery, &str)]) -> Result<(), Fault> {
    // A message that was delivered twice has one letter: a batch takes each subject once.
    let mut letters = BTreeMap::new();
    for (message, reason) in dead {
        let letter = DeadLetter::new(stream, message.place, &message.subject, &message.body, reason);
        tracing::error!(subject = letter.subject, reason, parked = letter.at(), "a message goes to {DEAD}");
        letters.insert(letter.at(), encode(&letter)?);
    }
    if letters.is_empty() {
        return Ok(());
    }
    bus.publish(DEAD, letters.into_iter().map(|(subject, letter)| Write::new(subject, letter)).collect()).await
}
