//! The section `sca` as its module needs it.

use std::time::Duration;

use super::{Configuration, span};

/// How often policies are scanned at most.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// What the section says, with the defaults where it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sca {
    /// Whether a scan begins with the agent: true unless said. A policy that is new is scanned at once all the same.
    pub scan_on_start: bool,
    /// The time from the end of a scan to the next of the same policy: an hour unless said, at least 10 s.
    pub interval: Duration,
}

impl Configuration {
    /// The section `sca`.
    pub fn sca(&self) -> Sca {
        let section = &self.value()["sca"];
        Sca {
            scan_on_start: section["scan_on_start"].as_bool().unwrap_or(true),
            interval: span(&section["interval"]).unwrap_or(Duration::from_secs(3600)).max(MIN_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::configuration::parse;

    #[test]
    fn defaults_and_least_values() {
        let hourly = Sca { scan_on_start: true, interval: Duration::from_secs(3600) };
        assert_eq!(parse("").unwrap().sca(), hourly);
        let section = parse("sca: {scan_on_start: false, interval: 1s}").unwrap().sca();
        assert_eq!(section, Sca { scan_on_start: false, interval: MIN_INTERVAL });
        assert_eq!(parse("sca: {interval: 12h}").unwrap().sca().interval, Duration::from_secs(12 * 3600));
    }
}
