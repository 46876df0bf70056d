//! Vulnerability scans: an agent lists its packages, a server node matches them, and what it finds is kept.

use std::sync::Arc;

use bytes::Bytes;
use muster_broker::{Bus, Fault, Write, encode, kv};
use muster_core::findings::{BUCKET, Finding, MAX_INVENTORY};
use muster_core::instant::Instant;
use muster_core::lane::Lane;
use muster_core::message::Refused;
use muster_core::problem::Refusal;
use muster_core::record::Agent;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::nodes::Nodes;
use crate::refusal::{slow_down, unavailable, whole};

/// So many scans wait for the nodes at once; who comes then asks again.
const OPEN: usize = 32;

/// What scans.
pub struct Scans {
    bus: Bus,
    nodes: Arc<dyn Nodes>,
    room: Semaphore,
}

impl Scans {
    /// Nothing is scanned yet.
    pub fn new(bus: &Bus, nodes: Arc<dyn Nodes>) -> Self {
        Self { bus: bus.clone(), nodes, room: Semaphore::new(OPEN) }
    }

    /// Scans an agent's packages at the offset that its record names, keeps what is found, and answers with the counts.
    ///
    /// # Errors
    /// `not-yours` when no task has asked for a scan, `not-yet` when the node does not stand at the offset yet, `slow-down` when
    /// too many scans are open, `too-large`, and what is wrong with the inventory.
    pub async fn scan(&self, id: &str, record: &Agent, inventory: &[u8], now: Instant) -> Result<Bytes, Refusal> {
        if inventory.len() > MAX_INVENTORY {
            let message = format!("{} bytes, where {MAX_INVENTORY} are allowed", inventory.len());
            return Err(whole("too-large", message));
        }
        let wanted = record.lanes.get(&Lane::of(Lane::RESCAN)).and_then(|entry| entry.revision);
        let Some(offset) = wanted else { return Err(whole("not-yours", "no task has asked for a scan of this agent")) };
        let _permit = self.room.try_acquire().map_err(|_| slow_down("many agents are being scanned"))?;
        let found = self.nodes.vulnerabilities(Bytes::copy_from_slice(inventory), offset).await.map_err(unavailable)?;
        if let Ok(refused) = serde_json::from_slice::<Refused>(&found) {
            return Err(refused.errors);
        }
        let unreadable = |error: serde_json::Error| unavailable(Fault::Refused(format!("a node's answer: {error}")));
        let mut found: Map<String, Value> = serde_json::from_slice(&found).map_err(unreadable)?;
        found.insert("at".into(), json!(now));
        let write =
            Write::new(kv::subject(BUCKET, &Finding::Vulnerabilities.key(id)), encode(&found).map_err(unavailable)?);
        self.bus.publish(&kv::stream(BUCKET), vec![write]).await.map_err(unavailable)?;
        found.remove("findings");
        found.remove("undetermined");
        encode(&found).map_err(unavailable)
    }
}
