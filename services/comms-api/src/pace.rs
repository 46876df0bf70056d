//! How often one may ask.

use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use muster_core::instant::Instant;

use crate::recent::Recent;

/// At most about twice so many are remembered; one that is forgotten begins with a full allowance.
const REMEMBERED: usize = 20_000;

/// How often.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Requests a second, over a longer time.
    pub rate: f64,
    /// Requests at once, after a silence.
    pub burst: f64,
}

/// What an agent may ask.
pub const AGENT: Rate = Rate { rate: 20.0, burst: 100.0 };
/// How often an agent may report what its modules found: these are the largest messages, and each is stored.
pub const FINDINGS: Rate = Rate { rate: 0.2, burst: 20.0 };
/// How often an agent may ask for a part of a package, beside all else: a download holds up no report.
pub const PARTS: Rate = Rate { rate: 20.0, burst: 100.0 };
/// How often an agent may have its packages matched: it asks again while the nodes do not stand where they are to.
pub const SCANS: Rate = Rate { rate: 0.1, burst: 20.0 };
/// How often one key may enrol: an enrolment whose answer was lost is asked for again.
pub const NEWCOMER: Rate = Rate { rate: 1.0, burst: 20.0 };
/// How often all keys together may enrol at one gateway: more than the broker can store.
pub const NEWCOMERS: Rate = Rate { rate: 10_000.0, burst: 20_000.0 };

/// A token bucket for each who asked lately.
pub struct Allowances<K> {
    rate: Rate,
    left: Mutex<Recent<K, Allowance>>,
}

#[derive(Clone, Copy)]
struct Allowance {
    left: f64,
    at: Instant,
}

impl<K: Clone + Eq + Hash> Allowances<K> {
    /// Full allowances for all.
    pub fn new(rate: Rate) -> Self {
        Self { rate, left: Mutex::new(Recent::new(REMEMBERED)) }
    }

    /// Takes one request out of the allowance of the one who asks; false when nothing is left of it.
    pub fn take(&self, who: K, now: Instant) -> bool {
        let Rate { rate, burst } = self.rate;
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(&who).unwrap_or(Allowance { left: burst, at: now });
        let left = (before.left + now.since(before.at).as_secs_f64() * rate).min(burst);
        let granted = left >= 1.0;
        let left = if granted { left - 1.0 } else { left };
        all.insert(who, Allowance { left, at: now.max(before.at) }, 1);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate_and_nobody_pays_for_another() {
        let allowances = Allowances::new(AGENT);
        let granted = |number: u32, at| (0..1000).filter(|_| allowances.take(number, Instant(at))).count();
        assert_eq!(granted(1, 0), 100);
        assert_eq!(granted(1, 1_000), 20);
        assert_eq!(granted(1, 500), 0);
        assert_eq!(granted(2, 1_000), 100);
        assert_eq!(granted(1, 3_600_000), 100);
    }

    #[test]
    fn enrolments_are_bounded_by_key_and_in_total() {
        let (one, all) = (Allowances::new(NEWCOMER), Allowances::new(NEWCOMERS));
        assert_eq!((0..1000).filter(|_| one.take("UX", Instant(0))).count(), 20);
        assert_eq!((0..50_000).filter(|_| all.take((), Instant(0))).count(), 20_000);
    }
}
