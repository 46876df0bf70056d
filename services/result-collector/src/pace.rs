//! When to write: at once when little happens, in larger groups the more there is to do.

use std::time::Duration;

use muster_core::instant::Instant;

/// A message waits at most this long for others.
const LONGEST: Duration = Duration::from_millis(250);
/// Writing takes at most this part of the time, one in so many, unless a group is full.
const SHARE: u32 = 8;

/// Says how long to gather, by what the last write took.
#[derive(Debug, Default)]
pub struct Pace {
    next: Instant,
}

impl Pace {
    /// A write began and ended.
    pub fn wrote(&mut self, began: Instant, ended: Instant) {
        self.next = ended.plus((ended.since(began) * SHARE).min(LONGEST));
    }

    /// How much longer to gather; zero when it is time to write.
    pub fn wait(&self, now: Instant) -> Duration {
        // A clock that was set back must not hold anything up.
        self.next.since(now).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_waits_for_nothing_and_none_waits_long() {
        let ms = Duration::from_millis;
        let mut pace = Pace::default();
        assert_eq!(pace.wait(Instant(1_000)), ms(0));
        pace.wrote(Instant(1_000), Instant(1_004));
        assert_eq!((pace.wait(Instant(1_004)), pace.wait(Instant(1_040))), (ms(32), ms(0)));
        pace.wrote(Instant(2_000), Instant(3_000));
        assert_eq!((pace.wait(Instant(3_000)), pace.wait(Instant(0))), (ms(250), ms(250)));
    }
}
