//! Sizes as people write them: `100B`, `64KB`, `1MB`, `2GB`, decimal (1KB = 1000 bytes).

/// Reads a whole number of bytes with `B`, `KB`, `MB` or `GB` after it, or nothing for bytes. `None` when the text is
/// anything else, or more than 2^64 bytes.
pub fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let bytes = match unit {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_decimal() {
        for (text, bytes) in [("0", 0), ("7", 7), ("100B", 100), ("1KB", 1_000), ("1MB", 1_000_000)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        assert_eq!(size("3GB"), Some(3_000_000_000));
    }

    #[test]
    fn all_else_is_refused() {
        for text in ["", "KB", "-1", "1.5MB", "1 MB", "1kb", "1KiB", "1TB", "18446744073709551615KB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
