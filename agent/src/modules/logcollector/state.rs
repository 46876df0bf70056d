//! What the module must remember: how much of the spool counts, and how far each file was read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The largest state that is read: beyond it the file is not ours.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What tells a file from all others as long as it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// How far one file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The path at which it was found.
    pub(super) path: String,
    pub(super) id: FileId,
    /// All before this byte is in the spool, or was there before the file was followed.
    pub(super) offset: u64,
    /// Whether `offset` is inside a line that was cut.
    pub(super) skipping: bool,
    /// The digest of the first bytes before `offset`, see `follow`.
    pub(super) head: String,
}

/// All that is kept, replaced as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// How many bytes of the spool belong to `files`; what is behind them was not confirmed and is written again.
    pub(super) spool_length: u64,
    /// The locations that are followed.
    pub(super) locations: Vec<String>,
    pub(super) files: Vec<Position>,
}

impl State {
    /// Reads what [`State::save`] wrote; `None` when there is none. One that cannot be understood is put aside as
    /// `<name>.bad`, for a module that never starts again would help nobody.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        let size = match fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = if size > MAX_BYTES {
            Err(format!("{size} bytes are too many"))
        } else {
            serde_json::from_slice(&fs::read(path)?).map_err(|e| e.to_string())
        };
        match read {
            Ok(state) => Ok(Some(state)),
            Err(error) => {
                tracing::error!(path = %path.display(), error, "the state is not readable; files are followed anew");
                fs::rename(path, path.with_extension("json.bad"))?;
                Ok(None)
            }
        }
    }

    /// Replaces the file, so that at every moment the old or the new one is there, also after a power failure.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let next = path.with_extension("json.new");
        let mut file = File::create(&next)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&next, path)
    }
}
