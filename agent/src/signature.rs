//! Whether a package is what its description says: its length, its SHA-256, and a minisign signature by a trusted key.

use std::io::Read;

use minisign_verify::{PublicKey, Signature};
use muster_core::names::hex;
use muster_core::package::Package;
use sha2::{Digest as _, Sha256};

/// The variable with public keys that packages are signed with: minisign's, in Base64, separated by commas.
pub const KEYS: &str = "MUSTER_PACKAGE_KEYS";
/// So much is looked at, at once, in bytes.
const PART: usize = 1 << 16;
/// At most so many keys are trusted.
const MAX_KEYS: usize = 64;

/// Public keys of those who may sign packages; at least one.
#[derive(Debug, Clone)]
pub struct Keys(Vec<PublicKey>);

impl Keys {
    /// Keys in Base64, separated by commas or line ends; the comments of minisign's `.pub` files do not count.
    ///
    /// # Errors
    /// When there is none, there are too many, or one is no key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let comment = |line: &&str| !line.trim_start().starts_with("untrusted comment:");
        let keys = text.lines().filter(comment).flat_map(|line| line.split(','));
        let keys: Vec<&str> = keys.map(str::trim).filter(|key| !key.is_empty()).take(MAX_KEYS + 1).collect();
        match keys.len() {
            0 => return Err("no key is trusted".into()),
            1..=MAX_KEYS => {}
            _ => return Err(format!("more than {MAX_KEYS} keys")),
        }
        let key = |key: &str| PublicKey::from_base64(key).map_err(|error| format!("a trusted key is none: {error}"));
        Ok(Self(keys.into_iter().map(key).collect::<Result<_, _>>()?))
    }

    /// Checks what `bytes` gives, as a whole.
    ///
    /// # Errors
    /// What is wrong with it, or why it cannot be read.
    pub fn check(&self, package: &Package, mut bytes: impl Read) -> Result<(), String> {
        let signature = signature(package)?;
        let mut check = Check::new(self, package, &signature);
        let mut part = vec![0; PART];
        loop {
            match bytes.read(&mut part).map_err(|error| error.to_string())? {
                0 => return check.finish(),
                read => check.update(&part[..read]),
            }
        }
    }
}

/// The signature of a package.
///
/// # Errors
/// When it is none.
pub fn signature(package: &Package) -> Result<Signature, String> {
    Signature::decode(&package.signature).map_err(|error| format!("the signature is none: {error}"))
}

/// The check of a package whose bytes come part by part.
pub struct Check<'a> {
    package: &'a Package,
    length: u64,
    sha256: Sha256,
    verifiers: Vec<minisign_verify::StreamVerifier<'a>>,
}

impl<'a> Check<'a> {
    /// Nothing has come yet.
    pub fn new(keys: &'a Keys, package: &'a Package, signature: &'a Signature) -> Self {
        // A key that has not made this signature gives no verifier.
        let verifiers = keys.0.iter().filter_map(|key| key.verify_stream(signature).ok()).collect();
        Self { package, length: 0, sha256: Sha256::new(), verifiers }
    }

    /// The next part.
    pub fn update(&mut self, part: &[u8]) {
        self.length += part.len() as u64;
        self.sha256.update(part);
        self.verifiers.iter_mut().for_each(|verifier| verifier.update(part));
    }

    /// All has come.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn finish(mut self) -> Result<(), String> {
        if self.length != self.package.size {
            return Err(format!("it has {} bytes, not {}", self.length, self.package.size));
        }
        let found = hex(&self.sha256.finalize());
        if found != self.package.sha256 {
            return Err(format!("its SHA-256 is {found}"));
        }
        match self.verifiers.iter_mut().any(|verifier| verifier.finalize().is_ok()) {
            true => Ok(()),
            false => Err("no key that is trusted here has signed it".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Cursor;

    use minisign::KeyPair;
    use muster_core::names::digest;

    use super::*;

    fn package(bytes: &[u8], by: &KeyPair) -> Package {
        let signature = minisign::sign(None, &by.sk, Cursor::new(bytes), None, None).unwrap().to_string();
        Package {
            name: "agent".into(),
            version: "1.1.0".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            size: bytes.len() as u64,
            sha256: digest(bytes),
            signature,
        }
    }

    #[test]
    fn length_digest_and_signature_are_checked() {
        let (ours, theirs) =
            (KeyPair::generate_unencrypted_keypair().unwrap(), KeyPair::generate_unencrypted_keypair().unwrap());
        let keys = Keys::parse(&format!("{},\n{}", theirs.pk.to_base64(), ours.pk.to_base64())).unwrap();
        let bytes = vec![7; 3 * PART + 1];
        let good = package(&bytes, &ours);
        let why = |package: &Package, bytes: &[u8]| keys.check(package, bytes).unwrap_err();
        assert_eq!(keys.check(&good, bytes.as_slice()), Ok(()));
        assert!(why(&good, &bytes[1..]).contains("bytes, not"));
        let mut other = bytes.clone();
        other[PART] = 8;
        assert!(why(&good, &other).contains("SHA-256"));
        let of_other = Package { signature: package(&other, &ours).signature, ..good.clone() };
        assert!(why(&of_other, &bytes).contains("has signed it"));
        let stranger = KeyPair::generate_unencrypted_keypair().unwrap();
        assert!(why(&package(&bytes, &stranger), &bytes).contains("has signed it"));
        assert!(why(&Package { signature: "RUQ".into(), ..good }, &bytes).contains("signature is none"));
    }

    #[test]
    fn keys_are_lines_or_a_list() {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let file = pair.pk.to_box().unwrap().to_string();
        assert!(file.contains("untrusted comment:"));
        assert_eq!(Keys::parse(&file).unwrap().0.len(), 1);
        assert_eq!(Keys::parse(&format!("{file}\n{0}, {0},", pair.pk.to_base64())).unwrap().0.len(), 3);
        assert!(Keys::parse(" \n,").unwrap_err().contains("no key"));
        assert!(Keys::parse("RWQ").unwrap_err().contains("is none"));
        assert!(Keys::parse(&"x,".repeat(MAX_KEYS + 1)).unwrap_err().contains("more than"));
    }
}
