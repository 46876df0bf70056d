//! How requests are refused.

use bytes::Bytes;
use muster_broker::Fault;
use muster_core::message::Refused;
use muster_core::problem::{Problem, Refusal};

/// A refusal of the whole request.
pub fn whole(code: &str, message: impl Into<String>) -> Refusal {
    vec![Problem::new(code, "", message)]
}

/// The broker did not do its part: what was asked may be asked again.
pub fn unavailable(fault: Fault) -> Refusal {
    tracing::warn!(%fault, "a request could not be answered");
    vec![Problem::new("unavailable", "", fault.to_string()).hint("ask again in a few seconds")]
}

/// There is no such agent, or it was deleted.
pub fn unknown_agent(id: &str) -> Refusal {
    let message = format!("there is no agent '{}'", id.escape_default());
    vec![Problem::new("unknown-agent", "", message).hint("enrol again")]
}

/// The answer that tells a refusal.
pub fn encode(errors: Refusal) -> Bytes {
    // Problems are texts: their JSON form cannot fail.
    serde_json::to_vec(&Refused { errors }).map(Bytes::from).unwrap_or_default()
}
