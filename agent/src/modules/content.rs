//! Content on the agent's disk that a section of the configuration rules.

use std::io;
use std::path::Path;

/// The sections with content, and the directory below `content` in which it is.
pub(super) const OF_SECTIONS: [(&str, &str); 2] = [("sca", "sca"), ("active_response", "active-response")];

/// Deletes `<root>/content/<directory>` with all that is in it, without following links. What is not there is deleted.
///
/// # Errors
/// When something cannot be deleted; the text says where.
pub(super) fn delete(root: &Path, directory: &str) -> Result<(), String> {
    let path = root.join("content").join(directory);
    match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}
