//! What agents' modules found: checked, and kept in the bucket `findings` until the agent reports the next.

use bytes::Bytes;
use muster_broker::{Bus, Fault, Write, encode, kv};
use muster_core::findings::{BUCKET, Finding};
use muster_core::problem::Refusal;
use serde_json::json;

use crate::refusal::unavailable;

/// Stores what an agent reports, and answers that it did.
///
/// # Errors
/// What is wrong with it, or that it could not be stored now.
pub async fn store(bus: &Bus, agent: &str, what: Finding, payload: &[u8]) -> Result<Bytes, Refusal> {
    what.check(payload)?;
    let write = Write::new(kv::subject(BUCKET, &what.key(agent)), Bytes::copy_from_slice(payload));
    bus.publish(&kv::stream(BUCKET), vec![write]).await.map_err(unavailable)?;
    encode(&json!({ "stored": true })).map_err(unavailable)
}

/// Forgets what a deleted agent has reported.
///
/// # Errors
/// When it is not surely gone.
pub async fn forget(bus: &Bus, agent: &str) -> Result<(), Fault> {
    for what in Finding::ALL {
        bus.purge(&kv::stream(BUCKET), &kv::subject(BUCKET, &what.key(agent))).await?;
    }
    Ok(())
}
