//! The system that runs this.

mod command;
mod processes;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::{Entry, Kind, System, Text, Trouble};

/// So much of a file is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// So many entries of a directory are read.
const MAX_ENTRIES: usize = 10_000;

const NO_FILE: &str = "it is no regular file";

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A command. Wazuh's default is 30 seconds.
    pub command: Duration,
    /// A whole scan.
    pub scan: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { command: Duration::from_secs(30), scan: Duration::from_secs(3600) }
    }
}

/// The machine that this runs on, for one scan: the time for it begins when this is made. It blocks.
#[derive(Debug)]
pub struct Linux {
    limits: Limits,
    started: Instant,
}

impl Linux {
    /// The machine, with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, started: Instant::now() }
    }
}

impl System for Linux {
    fn kind(&self, path: &Path) -> Result<Kind, Trouble> {
        fs::metadata(path).map(|found| kind(&found)).map_err(trouble)
    }

    fn read(&self, path: &Path) -> Result<Text, Trouble> {
        // Opening a device can do things to it.
        if self.kind(path)? != Kind::File {
            return Err(Trouble::Other(NO_FILE.into()));
        }
        // Without blocking on a pipe that takes the file's place, nor on a file like /proc/kmsg.
        let nonblocking = OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = i32::try_from(nonblocking.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(trouble)?;
        if kind(&file.metadata().map_err(trouble)?) != Kind::File {
            return Err(Trouble::Other(NO_FILE.into()));
        }
        beginning(file, MAX_FILE).map_err(trouble)
    }

    fn list(&self, directory: &Path) -> Result<Vec<Entry>, Trouble> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(directory).map_err(trouble)? {
            if entries.len() == MAX_ENTRIES {
                return Err(Trouble::Other(format!("it has more than {MAX_ENTRIES} entries")));
            }
            let entry = entry.map_err(trouble)?;
            let directory = entry.file_type().map_err(trouble)?.is_dir();
            entries.push(Entry { name: entry.file_name(), directory });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn processes(&self) -> Result<Vec<String>, String> {
        processes::names()
    }

    fn run(&self, words: &[String]) -> Result<Text, String> {
        command::run(words, self.limits.command.min(self.limits.scan.saturating_sub(self.started.elapsed())))
    }

    fn expired(&self) -> bool {
        self.started.elapsed() >= self.limits.scan
    }
}

fn kind(found: &Metadata) -> Kind {
    if found.is_file() {
        Kind::File
    } else if found.is_dir() {
        Kind::Directory
    } else {
        Kind::Other
    }
}

/// At most `limit` bytes of a file, and whether that is all.
fn beginning(file: File, limit: u64) -> io::Result<Text> {
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes)?;
    let whole = u64::try_from(read).is_ok_and(|read| read <= limit);
    bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Text { bytes, whole })
}

fn trouble(error: io::Error) -> Trouble {
    match error.kind() {
        ErrorKind::NotFound => Trouble::Missing,
        _ => Trouble::Other(error.to_string()),
    }
}
