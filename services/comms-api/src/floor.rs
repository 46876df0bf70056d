//! The floor: edge commands of tasks below it that an agent's ledger does not hold never start.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use muster_broker::{Fault, decode, kv};
use muster_core::instant::Instant;
use muster_core::stamp::Stamp;
use muster_runtime::steps::{AGENTS, Context};

/// The key of the bucket `agents` where the task-manager keeps it.
const FLOOR: &str = "floor";
/// It only rises, so an old one is a safe one; it is read again after this.
const KEPT: Duration = Duration::from_secs(5);

/// The floor as it was read last.
#[derive(Default)]
pub struct Floor(Mutex<Option<(Instant, Option<Stamp>)>>);

impl Floor {
    /// The floor, some seconds old; none before there is one.
    ///
    /// # Errors
    /// [`Fault::Unavailable`]; [`Fault::Refused`] when it cannot be read.
    pub async fn get(&self, context: &Context) -> Result<Option<Stamp>, Fault> {
        let now = context.clock.now();
        let kept = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, floor)) = kept
            && now.since(at) < KEPT
        {
            return Ok(floor);
        }
        let entry = context.bus.get(&kv::stream(AGENTS), &kv::subject(AGENTS, FLOOR)).await?;
        let floor = entry.and_then(|e| e.body).map(|body| decode::<Stamp>(AGENTS, FLOOR, &body)).transpose()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, floor));
        Ok(floor)
    }
}
