//! A system in memory, for tests and examples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{Entry, Kind, System, Text, Trouble};

/// Files, processes and commands that are only said to be there. A directory is there when a file lies in it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// What lies at paths.
    files: BTreeMap<PathBuf, Thing>,
    /// Directories without files.
    directories: BTreeSet<PathBuf>,
    /// Names of processes; none when they cannot be listed.
    processes: Option<Vec<String>>,
    /// What commands write, by their words with one space between them.
    commands: BTreeMap<String, Thing>,
    /// Always so many seconds have passed.
    elapsed: u64,
}

/// A text, or what takes its place.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Thing {
    Text(String),
    /// More follows that is not read.
    Cut {
        begins: String,
    },
    Failing {
        error: String,
    },
    /// Neither file nor directory.
    Special {
        special: bool,
    },
}

impl Thing {
    fn text(&self) -> Result<Text, String> {
        let text = |text: &str, whole| Ok(Text { bytes: text.as_bytes().to_vec(), whole });
        match self {
            Self::Text(all) => text(all, true),
            Self::Cut { begins } => text(begins, false),
            Self::Failing { error } => Err(error.clone()),
            Self::Special { .. } => Err("it is no regular file".into()),
        }
    }
}

impl System for Memory {
    fn kind(&self, path: &Path) -> Result<Kind, Trouble> {
        match self.files.get(path) {
            Some(Thing::Failing { error }) => Err(Trouble::Other(error.clone())),
            Some(Thing::Special { special: true }) => Ok(Kind::Other),
            Some(_) => Ok(Kind::File),
            None if self.list(path).is_ok() => Ok(Kind::Directory),
            None => Err(Trouble::Missing),
        }
    }

    fn read(&self, path: &Path) -> Result<Text, Trouble> {
        match self.files.get(path) {
            Some(thing) => thing.text().map_err(Trouble::Other),
            None if self.list(path).is_ok() => Err(Trouble::Other("it is no regular file".into())),
            None => Err(Trouble::Missing),
        }
    }

    fn list(&self, directory: &Path) -> Result<Vec<Entry>, Trouble> {
        let mut entries = BTreeMap::new();
        for (path, is_directory) in
            self.files.keys().map(|path| (path, false)).chain(self.directories.iter().map(|path| (path, true)))
        {
            let Ok(below) = path.strip_prefix(directory) else { continue };
            let mut names = below.components();
            if let Some(name) = names.next() {
                let deeper = names.next().is_some();
                entries.insert(name.as_os_str().to_owned(), is_directory || deeper);
            }
        }
        if entries.is_empty() && !self.directories.contains(directory) {
            let is_file = self.files.contains_key(directory);
            return Err(if is_file { Trouble::Other("it is no directory".into()) } else { Trouble::Missing });
        }
        Ok(entries.into_iter().map(|(name, directory)| Entry { name, directory }).collect())
    }

    fn processes(&self) -> Result<Vec<String>, String> {
        self.processes.clone().ok_or_else(|| "the processes cannot be listed".into())
    }

    fn run(&self, words: &[String]) -> Result<Text, String> {
        self.commands.get(&words.join(" ")).map_or_else(|| Err("there is no such program".into()), Thing::text)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.elapsed)
    }
}
