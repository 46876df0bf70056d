//! The spool: lines of JSON, appended.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Error;
use super::lines::Line;

/// The file. How much of it counts is known by the state.
pub(super) struct Spool {
    file: File,
    path: PathBuf,
}

#[derive(Serialize)]
struct Entry<'a> {
    location: &'a str,
    line: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl Spool {
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        // Logs are for the agent's user only, whoever may read the directory.
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        Ok(Self { file: file.map_err(Error::file(&path))?, path })
    }

    pub(super) fn length(&self) -> Result<u64, Error> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(Error::file(&self.path))
    }

    /// Forgets what is behind the first `length` bytes.
    pub(super) fn truncate(&self, length: u64) -> Result<(), Error> {
        self.file.set_len(length).map_err(Error::file(&self.path))
    }

    /// Puts `lines` behind the first `length` bytes, on the disk, and returns the new length. After an error nothing
    /// behind `length` counts.
    pub(super) fn write(&self, length: u64, lines: &[u8]) -> Result<u64, Error> {
        let end = length + lines.len() as u64;
        let written = self.file.write_all_at(lines, length).and_then(|()| self.file.set_len(end));
        written.and_then(|()| self.file.sync_data()).map_err(Error::file(&self.path))?;
        Ok(end)
    }
}

/// Adds one line to what will be written.
pub(super) fn entry(into: &mut Vec<u8>, location: &str, line: &Line<'_>) -> io::Result<()> {
    let text = String::from_utf8_lossy(line.bytes);
    serde_json::to_writer(&mut *into, &Entry { location, line: &text, truncated: line.truncated })?;
    into.push(b'\n');
    Ok(())
}

/// The path of the spool below the agent's directory.
pub(super) fn path(root: &Path) -> PathBuf {
    root.join("spool").join("logcollector.jsonl")
}
