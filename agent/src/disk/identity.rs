//! Who the agent is: a key that it made itself, and the id and name that it was given for it.

use std::fs;
use std::io;

use anyhow::Context as _;
use nkeys::KeyPair;
use serde::{Deserialize, Serialize};

use super::{Root, replace};

/// The id and the name of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The id, for ever.
    pub id: String,
    /// The name that it has in the desired state.
    pub name: String,
    /// It was told that it is deleted: it never connects again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// The key and, once it is enrolled, the id and the name of an agent.
pub struct Identity {
    /// The key; the public half names it at enrolment.
    pub key: KeyPair,
    /// The id and the name, when it was enrolled.
    pub enrolment: Option<Enrolment>,
}

impl Identity {
    /// Reads the identity below `root`, or makes a key.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is not of the right form.
    pub fn open(root: &Root) -> anyhow::Result<Self> {
        let key = match optional(fs::read_to_string(root.identity())) {
            Ok(Some(seed)) => KeyPair::from_seed(seed.trim()).map_err(anyhow::Error::from),
            Ok(None) => make(root),
            Err(error) => Err(error.into()),
        };
        let key = key.with_context(|| format!("the key {}", root.identity().display()))?;
        let enrolment = optional(fs::read(root.enrolment())).map_err(anyhow::Error::from).and_then(|bytes| {
            bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(anyhow::Error::from)
        });
        let enrolment = enrolment.with_context(|| format!("the enrolment {}", root.enrolment().display()))?;
        Ok(Self { key, enrolment })
    }

    /// Keeps the id and the name.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep(&mut self, root: &Root, enrolment: Enrolment) -> anyhow::Result<()> {
        let path = root.enrolment();
        replace(&path, &serde_json::to_vec_pretty(&enrolment)?, 0o600)
            .with_context(|| format!("the enrolment {}", path.display()))?;
        self.enrolment = Some(enrolment);
        Ok(())
    }
}

fn make(root: &Root) -> anyhow::Result<KeyPair> {
    let key = KeyPair::new_user();
    replace(&root.identity(), key.seed()?.as_bytes(), 0o600)?;
    Ok(key)
}

fn optional<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
