//! Tokens with which new agents enrol. The bucket holds their digests only: who reads it can enrol nobody.

use serde::{Deserialize, Serialize};

use crate::instant::Instant;
use crate::names::digest;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 256;
/// What the keys of all tokens begin with.
pub const PREFIX: &str = "token.";

/// What is known of a token: `agents/token.<SHA-256 of the token>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created: Instant,
    /// From then on nobody enrols with it.
    pub expires: Instant,
}

impl Token {
    /// Whether agents may enrol with it now.
    pub fn is_valid(&self, now: Instant) -> bool {
        now < self.expires
    }
}

/// The key of a token in the bucket `agents`.
pub fn key(token: &str) -> String {
    format!("{PREFIX}{}", digest(token.as_bytes()))
}

/// Why a token cannot be called so; `None` when it can.
pub fn name_fault(name: &str) -> Option<&'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !(1..=64).contains(&name.len()) {
        return Some("a token's name has 1 to 64 characters");
    }
    (!name.bytes().all(plain)).then_some("a token's name consists of letters, digits, '.', '_' and '-'")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest_until_it_expires() {
        let token = Token { name: "lab".into(), created: Instant(0), expires: Instant(1_000) };
        assert!(token.is_valid(Instant(999)) && !token.is_valid(Instant(1_000)));
        let key = key("secret");
        assert!(crate::names::is_digest(key.strip_prefix("token.").unwrap()));
        let json = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<Token>(&json).unwrap(), token);
    }

    #[test]
    fn names() {
        assert!(["a", "lab-1", "muster.up"].iter().all(|name| name_fault(name).is_none()));
        assert!(["", "a b", "a/b", &"x".repeat(65)].iter().all(|name| name_fault(name).is_some()));
    }
}
