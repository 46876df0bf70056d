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

/// It may be asked again, but not now.
pub fn slow_down(why: &str) -> Refusal {
    vec![Problem::new("slow-down", "", why).hint("wait a few seconds and ask again")]
}

/// The code of a refusal among NATS' services, by which it differs from any other answer.
pub fn status(errors: &Refusal) -> &'static str {
    match errors.first().map(|problem| problem.code.as_str()) {
        Some("slow-down") => "429",
        Some("unavailable") => "503",
        _ => "400",
    }
}

/// There is no such agent, or it was deleted.
pub fn unknown_agent(id: &str) -> Refusal {
    let message = format!("there is no agent '{}'", id.escape_default());
    vec![Problem::new("unknown-agent", "", message).hint("enrol again")]
}

/// The answer that tells a refusal.
pub fn encode(errors: &Refusal) -> Bytes {
    // Problems are texts: their JSON form cannot fail.
    serde_json::to_vec(&Refused { errors: errors.clone() }).map(Bytes::from).unwrap_or_default()
}
