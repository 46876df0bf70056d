//! Chance that the seed decides: the same fleet, asked the same, does the same.

use anyhow::Context as _;
use nkeys::{KeyPair, KeyPairType};
use sha2::{Digest as _, Sha256};

/// The seed of a fleet.
#[derive(Debug, Clone)]
pub struct Chance {
    seed: String,
}

impl Chance {
    /// The chance of the fleet with this prefix and seed.
    pub fn new(prefix: &str, seed: u64) -> Self {
        Self { seed: format!("muster-fleet/{prefix}/{seed}") }
    }

    /// Whether something happens that happens in this share of cases.
    pub fn hits(&self, share: f64, what: &str, of: impl std::fmt::Display) -> bool {
        share > 0.0 && self.share(what, of) < share
    }

    /// A number from 0 to 1, without 1.
    pub fn share(&self, what: &str, of: impl std::fmt::Display) -> f64 {
        let bytes = self.bytes(what, of);
        let number = bytes[..4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        f64::from(number) / (f64::from(u32::MAX) + 1.0)
    }

    /// The public key of the fleet's `n`th agent.
    pub fn nkey(&self, n: u32) -> anyhow::Result<String> {
        let key = KeyPair::new_from_raw(KeyPairType::User, self.bytes("key", n)).context("a key of the fleet")?;
        Ok(key.public_key())
    }

    fn bytes(&self, what: &str, of: impl std::fmt::Display) -> [u8; 32] {
        Sha256::digest(format!("{}/{what}/{of}", self.seed)).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_fleet() {
        let (a, b, c) = (Chance::new("x", 1), Chance::new("x", 1), Chance::new("x", 2));
        assert_eq!(a.nkey(7).unwrap(), b.nkey(7).unwrap());
        assert_ne!(a.nkey(7).unwrap(), c.nkey(7).unwrap());
        assert_ne!(a.nkey(7).unwrap(), a.nkey(8).unwrap());
        assert!(a.nkey(7).unwrap().starts_with('U') && a.nkey(7).unwrap().len() == 56);
    }

    #[test]
    fn a_share_is_a_share() {
        let chance = Chance::new("x", 1);
        let hits = |share| (0..10_000).filter(|n| chance.hits(share, "fail", n)).count();
        assert_eq!((hits(0.0), hits(1.0)), (0, 10_000));
        assert!((900..1100).contains(&hits(0.1)), "{}", hits(0.1));
    }
}
