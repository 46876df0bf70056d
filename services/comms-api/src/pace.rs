//! How often one agent may ask.

use std::sync::{Mutex, PoisonError};

use muster_core::instant::Instant;

use crate::recent::Recent;

/// Requests a second, over a longer time.
const RATE: f64 = 20.0;
/// Requests at once, after a silence.
const BURST: f64 = 100.0;
/// At most about twice so many agents are remembered; one that is forgotten begins with a full allowance.
const AGENTS: usize = 50_000;

/// A token bucket for each agent that asked lately.
pub struct Allowances(Mutex<Recent<u32, Allowance>>);

#[derive(Clone, Copy)]
struct Allowance {
    left: f64,
    at: Instant,
}

impl Default for Allowances {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(AGENTS)))
    }
}

impl Allowances {
    /// Takes one request of the agent with this number out of its allowance; false when nothing is left of it.
    pub fn take(&self, number: u32, now: Instant) -> bool {
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = agents.get(&number).unwrap_or(Allowance { left: BURST, at: now });
        let left = (before.left + now.since(before.at).as_secs_f64() * RATE).min(BURST);
        let granted = left >= 1.0;
        let left = if granted { left - 1.0 } else { left };
        agents.insert(number, Allowance { left, at: now.max(before.at) }, 1);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate_and_nobody_pays_for_another() {
        let allowances = Allowances::default();
        let granted = |number, at| (0..1000).filter(|_| allowances.take(number, Instant(at))).count();
        assert_eq!(granted(1, 0), 100);
        assert_eq!(granted(1, 1_000), 20);
        assert_eq!(granted(1, 500), 0);
        assert_eq!(granted(2, 1_000), 100);
        assert_eq!(granted(1, 3_600_000), 100);
    }
}
