//! Files with secrets.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Writes a secret, with a line feed after it, to a file that only its owner may read; directories that are missing
/// are made for the owner only. The file holds the old or the new text, never a part.
///
/// # Errors
/// When it cannot be written.
pub fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let new = path.with_extension("new");
    // One that was left behind may have other permissions.
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&new, path)
}
