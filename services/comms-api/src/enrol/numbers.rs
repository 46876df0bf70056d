//! Agent numbers, leased in blocks. A number that is leased and not used is never used: there are four billion.

use std::collections::VecDeque;
use std::time::Duration;

use muster_broker::{Clock, Fault, Txn};
use muster_runtime::steps::{AGENTS, Context};
use serde::{Deserialize, Serialize};

/// So many numbers are leased at once.
const BLOCK: u32 = 256;
/// The key of the bucket `agents` that says which numbers are leased.
const NUMBERS: &str = "numbers";

/// `agents/numbers`.
#[derive(Debug, Serialize, Deserialize)]
struct Leased {
    /// The first number that nobody has leased.
    next: u32,
}

/// The numbers that this gateway has leased and not used.
#[derive(Debug, Default)]
pub struct Numbers(VecDeque<u32>);

impl Numbers {
    /// Takes so many numbers; leases more where they do not suffice.
    ///
    /// # Errors
    /// [`Fault::Unavailable`]; [`Fault::Full`] when all numbers are used.
    pub async fn take(&mut self, context: &Context, count: usize) -> Result<Vec<u32>, Fault> {
        while self.0.len() < count {
            self.0.extend(lease(context).await?);
        }
        Ok(self.0.drain(..count).collect())
    }

    /// Gives back numbers that are certainly not used.
    pub fn give_back(&mut self, numbers: &[u32]) {
        numbers.iter().rev().for_each(|number| self.0.push_front(*number));
    }
}

async fn lease(context: &Context) -> Result<std::ops::Range<u32>, Fault> {
    for attempt in 0..100 {
        let mut txn = Txn::new(&context.bus, AGENTS);
        let first = txn.fetch::<Leased>(NUMBERS).await?.map_or(1, |leased| leased.next);
        let next = first.checked_add(BLOCK).ok_or_else(|| Fault::Full("all agent numbers are used".into()))?;
        txn.put_json(NUMBERS, &Leased { next })?;
        match txn.commit().await {
            Ok(_) => return Ok(first..next),
            Err(Fault::Conflict) => pause(&*context.clock, attempt).await,
            Err(fault) => return Err(fault),
        }
    }
    Err(Fault::Unavailable("too many gateways lease numbers at once".into()))
}

/// Waits a little before the next attempt.
pub async fn pause(clock: &dyn Clock, attempt: u32) {
    clock.sleep(Duration::from_millis(u64::from(attempt.min(20)) * 3)).await;
}
