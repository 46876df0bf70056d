//! The outcomes that agents report: codes are for programs and keep their meaning.

use muster_core::message::{MAX_DATA, Outcome};
use serde_json::Value;

/// The command's arguments or contents are not right; the message says where.
pub const INVALID: i32 = 1;
/// The agent does not know the command, or not the lane that it sets.
pub const UNKNOWN: i32 = 2;
/// The command was started, and the agent was stopped before it was done.
pub const INTERRUPTED: i32 = 3;
/// The state could not be put in force; the last good one stays.
pub const NOT_APPLIED: i32 = 4;

/// The longest message, in characters.
const MAX_MESSAGE: usize = 1024;

/// An outcome without data; the message is cut to what a report may hold.
pub fn outcome(code: i32, message: impl AsRef<str>) -> Outcome {
    Outcome { code, message: message.as_ref().chars().take(MAX_MESSAGE).collect(), data: Value::Null }
}

/// The same within the limits of a report: data that is too large is left out, and the message says so.
pub fn bounded(given: Outcome) -> Outcome {
    if given.data.to_string().len() <= MAX_DATA {
        return Outcome { data: given.data, ..outcome(given.code, given.message) };
    }
    outcome(given.code, format!("(data of more than {MAX_DATA} bytes left out) {}", given.message))
}
