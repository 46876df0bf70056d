//! Contents by digest. A file is there as a whole or not at all, and its name says what is in it: so a change that a
//! crash cut short mixes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use muster_core::message::MAX_BODY;
use muster_core::names::{digest, is_digest};

use super::{Root, replace};

/// The contents that the agent holds.
#[derive(Debug, Clone)]
pub struct Contents(PathBuf);

impl Contents {
    /// Those below `root`.
    pub fn of(root: &Root) -> Self {
        Self(root.contents())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.0.join(format!("{digest}.yml"))
    }

    /// The content with this digest; `None` when it is not there, or is not what its name says.
    pub fn get(&self, of: &str) -> Option<String> {
        if !is_digest(of) {
            return None;
        }
        fs::read_to_string(self.path(of)).ok().filter(|body| digest(body.as_bytes()) == of)
    }

    /// Stores a body under its digest. False when it is too large, or is not what the digest says.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, of: &str, body: &str) -> io::Result<bool> {
        if body.len() > MAX_BODY || digest(body.as_bytes()) != of {
            return Ok(false);
        }
        replace(&self.path(of), body.as_bytes(), 0o600)?;
        Ok(true)
    }

    /// Deletes all but these. What cannot be deleted stays until the next time.
    pub fn keep(&self, digests: &BTreeSet<&str>) {
        let Ok(files) = fs::read_dir(&self.0) else { return };
        for file in files.flatten() {
            let name = file.file_name();
            let kept = name.to_str().and_then(|name| name.strip_suffix(".yml")).is_some_and(|of| digests.contains(of));
            if !kept && let Err(error) = fs::remove_file(file.path()) {
                tracing::warn!(%error, file = %file.path().display(), "an old content cannot be deleted");
            }
        }
    }
}
