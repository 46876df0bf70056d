//! Chance that a seed decides. Each part of a world has a chance of its own, so that one more draw here changes nothing
//! elsewhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

/// A source of draws; clones are the same source.
#[derive(Clone)]
pub struct Chance(Arc<Mutex<Rng>>);

impl Chance {
    /// The chance of a part of the world with this seed.
    pub fn of(seed: u64, part: &str) -> Self {
        // FNV-1a: the same on every machine and in every release of the standard library.
        let hash = part
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(Arc::new(Mutex::new(Rng::with_seed(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))))
    }

    /// From 0 to `limit`, without `limit`; 0 when that is 0.
    pub fn below(&self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.0.lock().unwrap_or_else(PoisonError::into_inner).u64(..limit) }
    }

    /// Whether something happens that happens in so many of 10,000 cases.
    pub fn hits(&self, of_ten_thousand: u64) -> bool {
        self.below(10_000) < of_ten_thousand
    }

    /// A span of `low` to `high` milliseconds.
    pub fn span(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.below(high.saturating_sub(low) + 1))
    }

    /// One of several; none when there are none.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        usize::try_from(self.below(from.len() as u64)).ok().and_then(|at| from.get(at))
    }
}
