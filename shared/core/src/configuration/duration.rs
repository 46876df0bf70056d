//! Durations as people write them: `500ms`, `10s`, `1m`, `12h`, `30d`; a number without a unit is seconds.

use std::time::Duration;

use serde_json::Value;

/// Reads a whole number with `ms`, `s`, `m`, `h` or `d` after it, or nothing for seconds. `None` when the text is
/// anything else, or longer than 2^64 ms.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(milliseconds)?))
}

/// A duration in a configuration: a text, or a number of seconds.
pub(super) fn span(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_secs).or_else(|| duration(value.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit() {
        for (text, milliseconds) in [
            ("0", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("10", 10_000),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        for text in ["", "s", "-1s", "+1s", "1.5s", "1 s", " 1s", "1S", "1w", "1s1", "18446744073709551615d", "١s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
