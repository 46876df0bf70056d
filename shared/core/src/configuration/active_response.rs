//! What the section `active_response` says.

use super::Configuration;

impl Configuration {
    /// How many minutes a stateful response lasts against the same keys the next time and the times after it; empty
    /// when it always lasts as long.
    pub fn repeated_offenders(&self) -> Vec<u32> {
        let minutes = self.value()["active_response"]["repeated_offenders"].as_array();
        minutes.into_iter().flatten().filter_map(|m| m.as_u64()?.try_into().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::configuration::parse;

    #[test]
    fn repeated_offenders_are_minutes() {
        let parsed = parse("active_response: {repeated_offenders: [5, 30]}").unwrap();
        assert_eq!(parsed.repeated_offenders(), [5, 30]);
        assert!(parse("sca: {enabled: true}").unwrap().repeated_offenders().is_empty());
    }
}
