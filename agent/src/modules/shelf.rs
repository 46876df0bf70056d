//! The contents of one kind that an agent's groups give it, policies or responses: loaded, and on the disk for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use muster_core::lane::Lane;
use muster_core::names::file_name;
use serde_json::{Map, Value};

use crate::disk::replace;

/// Reads the text of a content that has this name.
type Reader<T> = fn(name: &str, text: &str) -> Result<T, String>;

/// What a task is told of a content that was read.
type Evidence<T> = fn(&T) -> Map<String, Value>;

/// The contents of one kind. They are files below `content/<kind>/<group>`, those that belong to no group below
/// `content/<kind>` itself (a group has no dot there), for as long as the section of the
/// configuration that rules them does not disable them.
pub struct Shelf<T> {
    kind: &'static str,
    directory: PathBuf,
    read: Reader<T>,
    evidence: Evidence<T>,
    enabled: bool,
    loaded: BTreeMap<Lane, Loaded<T>>,
}

struct Loaded<T> {
    digest: String,
    content: T,
}

/// What a shelf does whatever is on it.
pub trait Keeps: Send {
    /// Whether the configuration allows these contents.
    fn is_enabled(&self) -> bool;

    /// Whether this text can be a content of this lane, and what shows that it was read.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, lane: &Lane, text: &str) -> Result<Map<String, Value>, String>;

    /// The digests of what is loaded.
    fn digests(&self) -> Vec<(Lane, String)>;

    /// Allows these contents, or deletes all of them, without following links.
    ///
    /// # Errors
    /// When something cannot be deleted; the text says where.
    fn switch(&mut self, enabled: bool) -> Result<(), String>;

    /// Loads what is in force and drops all else. `text` knows the contents that are on disk; those missing are returned.
    ///
    /// # Errors
    /// When a file cannot be written or deleted; the text says where.
    fn follow(
        &mut self,
        in_force: &[(Lane, String)],
        text: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>, String>;
}

impl<T> Shelf<T> {
    /// The shelf for the lanes of a kind, below the agent's directory. It is empty, and what a killed agent left on the
    /// disk goes with the first [`Keeps::follow`] if it is not in force.
    pub fn new(root: &Path, kind: &'static str, read: Reader<T>, evidence: Evidence<T>) -> Self {
        let directory = root.join("content").join(kind);
        Self { kind, directory, read, evidence, enabled: true, loaded: BTreeMap::new() }
    }

    /// What an agent in these groups has under a name: the last of its groups that has one has the last word, as with
    /// configurations.
    pub fn named(&self, groups: &[String], name: &str) -> Option<&T> {
        let lane = |group: &String| Lane::item_of(self.kind, &format!("{group}/{name}"));
        groups.iter().rev().find_map(|group| self.loaded.get(&lane(group))).map(|loaded| &loaded.content)
    }

    /// All that is loaded, with the digests.
    pub fn all(&self) -> impl Iterator<Item = (&Lane, &str, &T)> {
        self.loaded.iter().map(|(lane, loaded)| (lane, loaded.digest.as_str(), &loaded.content))
    }

    fn file(&self, lane: &Lane) -> PathBuf {
        let group = self.directory.join(file_name(lane.group().unwrap_or_default()));
        group.join(format!("{}.yml", file_name(lane.name().unwrap_or_default())))
    }

    /// Deletes the files of what is not loaded.
    fn tidy(&self) -> Result<(), String> {
        let files: BTreeSet<PathBuf> = self.loaded.keys().map(|lane| self.file(lane)).collect();
        for group in entries(&self.directory)?.into_iter().filter(|entry| !files.contains(entry)) {
            if files.iter().any(|file| file.starts_with(&group)) {
                for file in entries(&group)?.into_iter().filter(|file| !files.contains(file)) {
                    delete(&file)?;
                }
            } else {
                delete(&group)?;
            }
        }
        Ok(())
    }
}

impl<T: Send> Keeps for Shelf<T> {
    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn check(&self, lane: &Lane, text: &str) -> Result<Map<String, Value>, String> {
        (self.read)(lane.name().unwrap_or_default(), text).map(|content| (self.evidence)(&content))
    }

    fn digests(&self) -> Vec<(Lane, String)> {
        self.all().map(|(lane, digest, _)| (lane.clone(), digest.to_owned())).collect()
    }

    fn switch(&mut self, enabled: bool) -> Result<(), String> {
        if !enabled {
            delete(&self.directory)?;
            self.loaded.clear();
        }
        self.enabled = enabled;
        Ok(())
    }

    fn follow(
        &mut self,
        in_force: &[(Lane, String)],
        text: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>, String> {
        if !self.enabled {
            return Ok(Vec::new());
        }
        let mine: BTreeMap<&Lane, &String> =
            in_force.iter().filter(|(lane, _)| lane.kind() == self.kind).map(|(lane, digest)| (lane, digest)).collect();
        self.loaded.retain(|lane, loaded| mine.get(lane).is_some_and(|digest| **digest == loaded.digest));
        let mut missing = Vec::new();
        for (lane, digest) in mine {
            if self.loaded.contains_key(lane) {
                continue;
            }
            let Some(text) = text(digest) else {
                missing.push(digest.clone());
                continue;
            };
            match (self.read)(lane.name().unwrap_or_default(), &text) {
                Ok(content) => {
                    write(&self.file(lane), &text)?;
                    self.loaded.insert(lane.clone(), Loaded { digest: digest.clone(), content });
                }
                // It was read when it was taken; another version of the agent may think otherwise.
                Err(why) => tracing::error!(%lane, %why, "a content in force cannot be loaded"),
            }
        }
        self.tidy()?;
        Ok(missing)
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let written = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        replace(path, text.as_bytes(), 0o600)
    };
    written().map_err(|error| format!("{}: {error}", path.display()))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: io::Error| format!("{}: {error}", directory.display());
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// Deletes a file, or a directory with all that is in it, without following links. What is not there is deleted.
fn delete(path: &Path) -> Result<(), String> {
    let directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let deleted = if directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match deleted {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(_: &str, text: &str) -> Result<u32, String> {
        text.parse().map_err(|_| format!("'{text}' is no number"))
    }

    fn lane(group: &str, name: &str) -> Lane {
        Lane::item_of("sca", &format!("{group}/{name}"))
    }

    fn text(digest: &str) -> Option<String> {
        digest.strip_prefix('d').map(str::to_owned)
    }

    #[test]
    fn what_is_in_force_is_loaded_and_on_disk_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join("content/sca").join(name);
        let mut shelf = Shelf::new(root.path(), "sca", number, |_| Map::new());
        let both = [(lane("web", "cis"), "d1".to_owned()), (lane("eu", "cis"), "d2".to_owned())];
        assert!(shelf.follow(&both, &text).unwrap().is_empty());
        assert!(path("web/cis.yml").exists() && path("eu/cis.yml").exists());
        let groups = ["web".to_owned(), "eu".to_owned()];
        assert_eq!((shelf.named(&groups, "cis"), shelf.named(&groups[..1], "cis")), (Some(&2), Some(&1)));
        assert_eq!(shelf.named(&groups, "other"), None);
        let missing = shelf.follow(&[both[1].clone(), (lane("eu", "x"), "missing".into())], &text).unwrap();
        assert_eq!(missing, ["missing"]);
        assert!(!path("web").exists() && path("eu/cis.yml").exists());
        assert_eq!(shelf.named(&groups, "cis"), Some(&2));
    }

    #[test]
    fn what_belongs_to_no_group_lies_beside_the_groups() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join("content/sca").join(name);
        let mut shelf = Shelf::new(root.path(), "sca", number, |_| Map::new());
        let own = (Lane::item_of("sca", "cis"), "d1".to_owned());
        let in_force = [own.clone(), (lane("cis", "cis"), "d2".to_owned())];
        shelf.follow(&in_force, &text).unwrap();
        assert!(path("cis.yml").is_file() && path("cis/cis.yml").is_file());
        shelf.follow(&[own], &text).unwrap();
        assert!(path("cis.yml").is_file() && !path("cis").exists());
        shelf.follow(&in_force[1..], &text).unwrap();
        assert!(!path("cis.yml").exists() && path("cis/cis.yml").is_file());
    }

    #[test]
    fn what_is_disabled_is_deleted_and_comes_back() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("content/sca/web/cis.yml");
        let stranger = root.path().join("content/active-response/block.json");
        write(&stranger, "stays").unwrap();
        let in_force = [(lane("web", "cis"), "d1".to_owned())];
        let mut shelf = Shelf::new(root.path(), "sca", number, |_| Map::new());
        shelf.follow(&in_force, &text).unwrap();
        shelf.switch(false).unwrap();
        assert!(shelf.follow(&in_force, &text).unwrap().is_empty());
        assert!(!file.exists() && stranger.exists() && shelf.all().next().is_none());
        shelf.switch(true).unwrap();
        assert_eq!(shelf.follow(&in_force, &|_| None).unwrap(), ["d1"]);
        shelf.follow(&in_force, &text).unwrap();
        assert!(file.exists());
    }

    #[test]
    fn names_of_any_kind_have_files_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::new(root.path(), "sca", number, |_| Map::new());
        let names = ["../x", "a.b", "a/b", "..", &"n".repeat(255)];
        let in_force: Vec<_> = names.iter().map(|name| (lane("g..", name), "d1".to_owned())).collect();
        shelf.follow(&in_force, &text).unwrap();
        assert_eq!(fs::read_dir(root.path().join("content/sca/g=2e=2e")).unwrap().count(), names.len());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
