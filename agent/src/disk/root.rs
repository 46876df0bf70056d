//! The directory that belongs to one agent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use muster_core::names::file_name;

/// The directory of one agent. Its ledger is also the lock that keeps a second agent out.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// Makes the directory and those below it, readable for the owner only.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = Self(path.to_owned());
        for directory in [root.path().to_owned(), root.groups(), root.contents(), root.path().join("spool")] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        Ok(root)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The ledger.
    pub fn ledger(&self) -> PathBuf {
        self.0.join("ledger.redb")
    }

    /// The seed of the agent's key.
    pub fn identity(&self) -> PathBuf {
        self.0.join("identity.nk")
    }

    /// Its id and its name.
    pub fn enrolment(&self) -> PathBuf {
        self.0.join("agent.json")
    }

    /// What only the administrator of the machine says.
    pub fn local(&self) -> PathBuf {
        self.0.join("local.yml")
    }

    /// The configurations of its groups as they were received.
    pub fn groups(&self) -> PathBuf {
        self.0.join("groups")
    }

    /// The configuration of one group as it was received.
    pub fn group(&self, name: &str) -> PathBuf {
        self.groups().join(format!("{}.yml", file_name(name)))
    }

    /// The merged configuration in force.
    pub fn configuration(&self) -> PathBuf {
        self.0.join("agent.yml")
    }

    /// The contents of groups by digest, from which the files for people are written.
    pub fn contents(&self) -> PathBuf {
        self.0.join("content").join("groups")
    }
}

/// Replaces a file as a whole: whoever reads it finds the old or the new one, also after a crash. `mode` are its
/// permissions.
///
/// # Errors
/// When it cannot be written; the old one is there still.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::other("a file needs a name"))?;
    let temporary = directory.join(format!(".{}.new", name.to_string_lossy()));
    // A file that a crash has left may have other permissions.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()
}
