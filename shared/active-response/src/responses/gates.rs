//! The programs of one response run one at a time, in the order in which they came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

/// A gate for each response that runs.
#[derive(Default)]
pub(super) struct Gates(Mutex<BTreeMap<String, Arc<Gate<()>>>>);

impl Gates {
    /// Waits until no other program of this response runs; the next one waits until the guard is dropped.
    pub(super) async fn enter(&self, response: &str) -> OwnedMutexGuard<()> {
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            Arc::clone(gates.entry(response.to_owned()).or_default())
        };
        gate.lock_owned().await
    }
}
