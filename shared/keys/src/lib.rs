//! The nkeys of a server's own users: which there are, where their seeds lie, and what the server is told of them.
//!
//! `nats/server.conf` holds no secret. It names public keys as variables ([`Keys::server_variables`]); the seeds are
//! with whoever connects: each in `MUSTER_<NAME>_SEED`, in the file that `MUSTER_<NAME>_SEED_FILE` names, or in
//! `<name>.seed` in the directory that `MUSTER_KEYS` names, which `muster up` makes in its own directory.

mod file;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use nkeys::{KeyPair, KeyPairType};

pub use file::write_secret;

/// Where `muster up` keeps the keys unless it is given another directory.
const DEFAULT: &str = "./.muster/keys";

/// A key and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Signs what the gateway says of who connects: an account's key that belongs to no account.
    Issuer,
    /// The gateway in the account AUTH, where the server asks who somebody is.
    Gateway,
    /// The gateway in the system account, where it closes connections of deleted agents.
    Kicker,
    /// The gateway in the agents' account, to hand over commands.
    Push,
    /// The gateway in the agents' account, to answer.
    Answer,
    /// Tasks, functions, services and people: the account with JetStream.
    Control,
    /// All virtual agents together, in the agents' account.
    Fleet,
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Issuer, Self::Gateway, Self::Kicker, Self::Push, Self::Answer, Self::Control, Self::Fleet];

    /// Its name in file names and, in capitals, in variables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Gateway => "gateway",
            Self::Kicker => "kicker",
            Self::Push => "push",
            Self::Answer => "answer",
            Self::Control => "control",
            Self::Fleet => "fleet",
        }
    }

    /// The key with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    const fn kind(self) -> KeyPairType {
        if matches!(self, Self::Issuer) { KeyPairType::Account } else { KeyPairType::User }
    }

    fn variable(self, ending: &str) -> String {
        format!("MUSTER_{}{ending}", self.name().to_uppercase())
    }
}

/// Whom the server takes, besides those who show a key that it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Whoever shows nothing is `control`, and there is a user for virtual agents. For loopback only.
    Open,
    /// Nobody else.
    Closed,
}

/// Where seeds are found. It holds none itself.
#[derive(Debug, Clone)]
pub struct Keys {
    directory: PathBuf,
    /// Whether variables for single keys come before the directory.
    variables: bool,
}

impl Keys {
    /// As the variables say; in `./.muster/keys` where they say nothing.
    pub fn from_environment() -> Self {
        Self { directory: variable("MUSTER_KEYS").map_or_else(|| DEFAULT.into(), PathBuf::from), variables: true }
    }

    /// In this directory, whatever the variables say.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), variables: false }
    }

    /// In this directory, where the keys that are missing are made, readable for the owner only.
    ///
    /// # Errors
    /// When one can be neither read nor written.
    pub fn make(directory: impl Into<PathBuf>) -> Result<Self> {
        let keys = Self::in_directory(directory);
        for key in Key::ALL {
            if !keys.path(key).is_file() {
                let seed = KeyPair::new(key.kind()).seed()?;
                let path = keys.path(key);
                write_secret(&path, &seed).with_context(|| format!("the key {}", path.display()))?;
            }
            keys.pair(key)?;
        }
        Ok(keys)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A key with its seed.
    ///
    /// # Errors
    /// When it is not there or is not of its kind; the text says where it was looked for.
    pub fn pair(&self, key: Key) -> Result<KeyPair> {
        let (seed, place) = self.seed(key)?;
        let pair = KeyPair::from_seed(seed.trim()).with_context(|| format!("{place} holds no seed of an nkey"))?;
        ensure!(
            pair.key_pair_type() == key.kind(),
            "{place} holds a seed of another kind than the {} needs",
            key.name()
        );
        Ok(pair)
    }

    fn seed(&self, key: Key) -> Result<(String, String)> {
        let named = |ending| if self.variables { variable(&key.variable(ending)) } else { None };
        if let Some(seed) = named("_SEED") {
            return Ok((seed, key.variable("_SEED")));
        }
        let path = named("_SEED_FILE").map_or_else(|| self.path(key), PathBuf::from);
        let seed = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "the seed of the user '{}' cannot be read from {}. MUSTER_KEYS names the directory with the keys \
                 (<dir>/keys of muster up), {} the file of this one",
                key.name(),
                path.display(),
                key.variable("_SEED_FILE")
            )
        })?;
        Ok((seed, path.display().to_string()))
    }

    fn path(&self, key: Key) -> PathBuf {
        self.directory.join(format!("{}.seed", key.name()))
    }

    /// The environment of a server with `nats/server.conf` on this machine: its variables, and in `GOMAXPROCS` how many
    /// threads it works with.
    ///
    /// # Errors
    /// As [`Keys::pair`].
    pub fn server_environment(&self, door: Door) -> Result<Vec<(String, String)>> {
        let mut variables = self.server_variables(door)?;
        variables.push(("GOMAXPROCS".to_owned(), threads().to_string()));
        Ok(variables)
    }

    /// The variables that `nats/server.conf` asks for: the public key of each user as `MUSTER_<NAME>`, and in
    /// `MUSTER_ANYONE` who somebody is that shows nothing. Behind a closed door the fleet's key is one whose seed
    /// nobody has.
    ///
    /// # Errors
    /// As [`Keys::pair`].
    pub fn server_variables(&self, door: Door) -> Result<Vec<(String, String)>> {
        let mut variables = Vec::new();
        for key in Key::ALL {
            let pair = match (key, door) {
                (Key::Fleet, Door::Closed) => KeyPair::new_user(),
                _ => self.pair(key)?,
            };
            variables.push((key.variable(""), pair.public_key()));
        }
        let anyone = match door {
            Door::Open => self.pair(Key::Control)?.public_key(),
            // As the server's configuration writes an empty text, which stands for nobody.
            Door::Closed => "\"\"".to_owned(),
        };
        variables.push(("MUSTER_ANYONE".to_owned(), anyone));
        Ok(variables)
    }
}

/// The server's own default is one for each processor, and then, where there are few, a small request waits until
/// batches of a thousand messages are stored: with eight on two processors it waits half as long (docs/performance.md).
fn threads() -> usize {
    const LEAST: usize = 8;
    std::thread::available_parallelism().map_or(LEAST, |processors| processors.get().max(LEAST))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn made_once_and_readable_for_the_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("deep/keys");
        let keys = Keys::make(&directory).unwrap();
        let again = Keys::make(&directory).unwrap();
        for key in Key::ALL {
            assert_eq!(keys.pair(key).unwrap().public_key(), again.pair(key).unwrap().public_key());
            let mode = std::fs::metadata(keys.path(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", key.name());
        }
        assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_server_is_told_public_keys_only() {
        let home = tempfile::tempdir().unwrap();
        let keys = Keys::make(home.path()).unwrap();
        let of = |door| keys.server_variables(door).unwrap().into_iter().collect::<BTreeMap<_, _>>();
        let (open, closed) = (of(Door::Open), of(Door::Closed));
        assert_eq!((open.len(), open["MUSTER_ISSUER"].as_bytes()[0]), (8, b'A'));
        assert_eq!(open["MUSTER_ANYONE"], keys.pair(Key::Control).unwrap().public_key());
        assert_eq!(open["MUSTER_FLEET"], keys.pair(Key::Fleet).unwrap().public_key());
        assert_eq!(closed["MUSTER_ANYONE"], "\"\"");
        assert_ne!(closed["MUSTER_FLEET"], open["MUSTER_FLEET"]);
        assert!(open.values().chain(closed.values()).all(|value| !value.starts_with('S')));
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_said() {
        let home = tempfile::tempdir().unwrap();
        let keys = Keys::in_directory(home.path());
        let missing = format!("{:#}", keys.pair(Key::Push).unwrap_err());
        assert!(missing.contains("push.seed") && missing.contains("MUSTER_KEYS"), "{missing}");
        write_secret(&home.path().join("push.seed"), &KeyPair::new_account().seed().unwrap()).unwrap();
        assert!(keys.pair(Key::Push).unwrap_err().to_string().contains("another kind"));
        write_secret(&home.path().join("push.seed"), "nonsense").unwrap();
        assert!(!format!("{:#}", keys.pair(Key::Push).unwrap_err()).contains("nonsense"));
    }
}
