//! What rules look at: files, directories, processes, the output of commands.

#[cfg(target_os = "linux")]
mod linux;
mod memory;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub use self::linux::Linux;
pub use self::memory::Memory;

/// A system that a policy is run on. Symbolic links to what is asked for are followed.
pub trait System {
    /// What lies at a path.
    ///
    /// # Errors
    /// [`Trouble::Missing`] when nothing does.
    fn kind(&self, path: &Path) -> Result<Kind, Trouble>;

    /// The beginning of a regular file, up to a bound of the system.
    ///
    /// # Errors
    /// [`Trouble::Other`] for what is no regular file.
    fn read(&self, path: &Path) -> Result<Text, Trouble>;

    /// What lies in a directory, sorted by name.
    ///
    /// # Errors
    /// [`Trouble::Other`] for what is no directory, or has more entries than a bound of the system.
    fn list(&self, directory: &Path) -> Result<Vec<Entry>, Trouble>;

    /// All names of each process that runs: what it calls itself, and the program's path and file name.
    ///
    /// # Errors
    /// Why not all of them could be found out.
    fn processes(&self) -> Result<Vec<String>, String>;

    /// Runs a program, `words[0]`, without a shell, and returns what it wrote to both of its outputs, up to a bound.
    ///
    /// # Errors
    /// Why it did not run to its end.
    fn run(&self, words: &[String]) -> Result<Text, String>;

    /// The time since some moment, the same for one scan.
    fn elapsed(&self) -> Duration;
}

/// What can lie at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A device, socket or pipe.
    Other,
}

/// The beginning of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its bytes, whatever they mean.
    pub bytes: Vec<u8>,
    /// Whether that is all of it.
    pub whole: bool,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// Whether it is itself a directory; a link to one is not.
    pub directory: bool,
}

/// Why something could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It is not there.
    Missing,
    /// Whether it is there, or what it holds, could not be found out.
    Other(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("it is not there"),
            Self::Other(why) => f.write_str(why),
        }
    }
}
