//! The section `logcollector` as its module needs it.

use std::time::Duration;

use super::{Configuration, span};

/// How often files are read at most.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(10);

/// How often files that newly match are looked for at most.
const MIN_RELOAD_INTERVAL: Duration = Duration::from_millis(100);

/// What the section says of files, with the defaults where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logcollector {
    /// Whether anything is followed: true unless said.
    pub enabled: bool,
    /// The paths to follow, each once, in the order of the section; `*` and `?` are wildcards inside a component.
    pub localfiles: Vec<String>,
    /// How often the files are read: 500 ms unless said, at least 10 ms.
    pub read_interval: Duration,
    /// How often files that newly match are looked for: a minute unless said, at least 100 ms.
    pub reload_interval: Duration,
}

impl Configuration {
    /// The section `logcollector`. `journald`, `windows` and `macos` are not of files and not in it.
    pub fn logcollector(&self) -> Logcollector {
        let section = &self.value()["logcollector"];
        let mut localfiles: Vec<String> = Vec::new();
        for item in section["localfiles"].as_array().into_iter().flatten() {
            if let Some(location) = item.as_str().or_else(|| item["location"].as_str())
                && !localfiles.iter().any(|known| known == location)
            {
                localfiles.push(location.to_owned());
            }
        }
        let interval = |key: &str, usual: Duration, least: Duration| span(&section[key]).unwrap_or(usual).max(least);
        Logcollector {
            enabled: self.section_enabled("logcollector").unwrap_or(true),
            localfiles,
            read_interval: interval("read_interval", Duration::from_millis(500), MIN_READ_INTERVAL),
            reload_interval: interval("reload_interval", Duration::from_secs(60), MIN_RELOAD_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::configuration::parse;

    #[test]
    fn strings_and_maps_and_units() {
        let text =
            "logcollector:\n  localfiles: [/a, {location: /b/*.log}, /a]\n  read_interval: 2\n  reload_interval: 1h";
        let section = parse(text).unwrap().logcollector();
        assert!(section.enabled);
        assert_eq!(section.localfiles, ["/a", "/b/*.log"]);
        assert_eq!(section.read_interval, Duration::from_secs(2));
        assert_eq!(section.reload_interval, Duration::from_secs(3600));
    }

    #[test]
    fn defaults_and_least_values() {
        let section = parse("").unwrap().logcollector();
        assert_eq!((section.enabled, section.localfiles.len()), (true, 0));
        assert_eq!(section.read_interval, Duration::from_millis(500));
        assert_eq!(section.reload_interval, Duration::from_secs(60));
        let section = parse("logcollector: {enabled: false, read_interval: 0s}").unwrap().logcollector();
        assert!(!section.enabled);
        assert_eq!(section.read_interval, MIN_READ_INTERVAL);
    }
}
