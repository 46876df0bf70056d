//! The id of a CVE.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A CVE's id, `CVE-<year>-<number>`: four digits, and at least four without needless zeros (the CVE program's syntax of 2014).
/// Its order is that of year and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CveId {
    year: u16,
    number: u64,
}

/// The bits of the number in [`CveId::to_bits`].
const NUMBER_BITS: u32 = 48;

impl CveId {
    /// The id as a number of the same order: for keys.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.year) << NUMBER_BITS | self.number
    }

    /// The id of a number that [`CveId::to_bits`] made.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self { year: (bits >> NUMBER_BITS) as u16, number: bits & ((1 << NUMBER_BITS) - 1) }
    }
}

impl fmt::Display for CveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CVE-{:04}-{:04}", self.year, self.number)
    }
}

/// A text that is no CVE id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a CVE id is CVE-<year>-<number>, such as CVE-2024-6387")]
pub struct NoCveId;

impl FromStr for CveId {
    type Err = NoCveId;

    fn from_str(text: &str) -> Result<Self, NoCveId> {
        let (year, number) = text.strip_prefix("CVE-").and_then(|rest| rest.split_once('-')).ok_or(NoCveId)?;
        let id = Self { year: year.parse().map_err(|_| NoCveId)?, number: number.parse().map_err(|_| NoCveId)? };
        // Only the canonical form: so each CVE has one name, and each name one key.
        if id.number >> NUMBER_BITS != 0 || id.to_string() != text { Err(NoCveId) } else { Ok(id) }
    }
}

impl From<CveId> for String {
    fn from(id: CveId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for CveId {
    type Error = NoCveId;

    fn try_from(text: String) -> Result<Self, NoCveId> {
        text.parse()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for text in ["CVE-1999-0001", "CVE-2024-6387", "CVE-2024-1000000", "CVE-2026-281474976710655"] {
            let id: CveId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(CveId::from_bits(id.to_bits()), id);
        }
        for text in [
            "",
            "CVE-",
            "CVE-2024-",
            "CVE-2024-1",
            "CVE-2024-00001",
            "CVE-24-0001",
            "CVE-70000-0001",
            "cve-2024-0001",
            "CVE-2024-+001",
            "CVE-2024-281474976710656",
            "TID-0039",
            "CVE-2024-0001 ",
            "CVE-2024-000१",
        ] {
            assert_eq!(text.parse::<CveId>(), Err(NoCveId), "{text}");
        }
        assert!("CVE-2024-9999".parse::<CveId>().unwrap() < "CVE-2024-10000".parse().unwrap());
    }
}
