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

/// The machine that this runs on. It blocks.
#[derive(Debug, Clone, Copy)]
pub struct Linux {
    command: Duration,
    started: Instant,
}

impl Linux {
    /// The machine, on which a command may take so long.
    pub fn new(command: Duration) -> Self {
        Self { command, started: Instant::now() }
    }
}

impl Default for Linux {
    /// Commands may take 30 seconds, as in Wazuh.
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
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
        command::run(words, self.command)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
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
