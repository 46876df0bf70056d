//! Texts in base64, as the modifiers `base64` and `base64offset` (after `wide`, `utf16le`, `utf16be`, `utf16`) have them.
//!
//! The evaluator's own `base64offset` keeps the last character, which the following bytes change, and so misses what it
//! looks for wherever it is not the end. The texts are encoded here, after pySigma, and given to it as plain ones.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rsigma_parser::Modifier;

/// The bytes of a text in the character set that a modifier names.
pub(crate) fn bytes(text: &str, set: Option<Modifier>) -> Vec<u8> {
    let little = || text.encode_utf16().flat_map(u16::to_le_bytes);
    match set {
        Some(Modifier::Wide) => little().collect(),
        Some(Modifier::Utf16be) => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        Some(Modifier::Utf16) => [0xff, 0xfe].into_iter().chain(little()).collect(),
        _ => text.as_bytes().to_vec(),
    }
}

/// What the bytes are in base64 when they are the whole.
pub(crate) fn whole(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What of the bytes can be seen in the base64 of a longer text, for each of the three places that they can have in a
/// group of three. Nothing for a place where no character depends on these bytes alone.
pub(crate) fn inside(bytes: &[u8]) -> impl Iterator<Item = String> {
    (0..3).filter_map(|offset| {
        let padded: Vec<u8> = std::iter::repeat_n(0, offset).chain(bytes.iter().copied()).collect();
        let encoded = STANDARD_NO_PAD.encode(&padded);
        // A character holds six bits: those that also hold bits of a neighbour are left out.
        let first = (offset * 8).div_ceil(6);
        let end = padded.len() * 8 / 6;
        encoded.get(first..end).filter(|text| !text.is_empty()).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn character_sets() {
        assert_eq!(bytes("aé", None), [0x61, 0xc3, 0xa9]);
        assert_eq!(bytes("a😀", Some(Modifier::Wide)), [0x61, 0, 0x3d, 0xd8, 0, 0xde]);
        assert_eq!(bytes("a", Some(Modifier::Utf16be)), [0, 0x61]);
        assert_eq!(bytes("a", Some(Modifier::Utf16)), [0xff, 0xfe, 0x61, 0]);
    }

    #[test]
    fn as_pysigma_does() {
        // The three forms that the Sigma documentation lists for `FromBase64String` in UTF-16.
        let expected =
            ["OgA6AEYAcgBvAG0AQgBhAHMAZQA2ADQAUwB0AHIAaQBuAGcA", "oAOgBGAHIAbwBtAEIAYQBzAGUANgA0AFMAdAByAGkAbgBnA"];
        let found: Vec<_> = inside(&bytes("::FromBase64String", Some(Modifier::Wide))).collect();
        assert_eq!(found[..2], expected);
        assert_eq!(found[2], "6ADoARgByAG8AbQBCAGEAcwBlADYANABTAHQAcgBpAG4AZw");
        assert_eq!(whole(b"a"), "YQ==");
    }

    proptest! {
        #[test]
        fn it_is_found_wherever_it_is(before in prop::collection::vec(any::<u8>(), 0..7),
                                      sought in prop::collection::vec(any::<u8>(), 3..12),
                                      after in prop::collection::vec(any::<u8>(), 0..7)) {
            let longer = STANDARD.encode([before, sought.clone(), after].concat());
            prop_assert!(inside(&sought).any(|text| longer.contains(&text)));
        }
    }
}
