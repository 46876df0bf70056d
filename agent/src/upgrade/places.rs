//! Where the programs of an agent lie, and what is remembered of a change between them. What is written is on disk, as
//! a whole, when the call returns.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use muster_core::names::file_name;

use super::Switch;
use crate::disk::replace;
use crate::signature::{KEYS, Keys};

/// The name of each program, in a directory that is named by its version.
const PROGRAM: &str = "muster-agent";
/// The largest file of those read here, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The files below an agent's directory that are about its program.
#[derive(Debug, Clone)]
pub struct Places(PathBuf);

impl Places {
    /// Those of the agent with this directory. The directories are made.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        let places = Self(root.to_owned());
        for directory in [places.upgrade(), places.programs()] {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        Ok(places)
    }

    fn upgrade(&self) -> PathBuf {
        self.0.join("upgrade")
    }

    fn programs(&self) -> PathBuf {
        self.0.join("bin")
    }

    fn switch_file(&self) -> PathBuf {
        self.upgrade().join("switch.json")
    }

    fn current(&self) -> PathBuf {
        self.programs().join("current")
    }

    /// The lock that keeps a second agent out of the directory.
    pub fn lock(&self) -> PathBuf {
        self.upgrade().join("lock")
    }

    /// The program of a version.
    pub fn program(&self, version: &str) -> PathBuf {
        self.programs().join(file_name(version)).join(PROGRAM)
    }

    /// What has come of a package so far.
    pub fn part(&self, sha256: &str) -> PathBuf {
        self.upgrade().join(format!("{}.part", file_name(sha256)))
    }

    /// The version in force; none when that is the program which was installed.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn in_force(&self) -> io::Result<Option<String>> {
        Ok(read(&self.current())?.map(|version| version.trim().to_owned()).filter(|version| !version.is_empty()))
    }

    /// Puts a version in force.
    ///
    /// # Errors
    /// When it cannot be written; what was in force is still.
    pub fn put_in_force(&self, version: &str) -> io::Result<()> {
        replace(&self.current(), version.as_bytes(), 0o600)
    }

    /// The change that is on its way, or the last one that failed.
    ///
    /// # Errors
    /// When the file is there and cannot be read. One that is no such record is moved aside: nobody knows what it said.
    pub fn switch(&self) -> io::Result<Option<Switch>> {
        let Some(text) = read(&self.switch_file())? else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(switch) => Ok(Some(switch)),
            Err(error) => {
                tracing::error!(%error, "the record of an upgrade cannot be read; it is moved aside");
                fs::rename(self.switch_file(), self.switch_file().with_extension("json.corrupt"))?;
                Ok(None)
            }
        }
    }

    /// Remembers how far a change has come.
    ///
    /// # Errors
    /// When it cannot be written; what was remembered is still.
    pub fn remember(&self, switch: &Switch) -> io::Result<()> {
        replace(&self.switch_file(), &serde_json::to_vec(switch)?, 0o600)
    }

    /// Forgets the change.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget(&self) -> io::Result<()> {
        match fs::remove_file(self.switch_file()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => sync(&self.upgrade()),
        }
    }

    /// Makes a file the program of a version: it is executable, and on disk as a whole.
    ///
    /// # Errors
    /// When that fails; the program that was there is there still.
    pub fn place(&self, file: &Path, version: &str) -> io::Result<()> {
        let program = self.program(version);
        let directory = program.parent().unwrap_or(&self.0);
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        fs::set_permissions(file, Permissions::from_mode(0o700))?;
        File::open(file)?.sync_all()?;
        fs::rename(file, &program)?;
        sync(directory)?;
        sync(&self.programs())
    }

    /// Deletes all parts of packages but this one. What cannot be deleted stays until the next time.
    pub fn keep_part(&self, sha256: &str) {
        let kept = self.part(sha256);
        clean(&self.upgrade(), |path| path.extension().is_some_and(|kind| kind == "part") && path != kept);
    }

    /// Deletes the programs of all versions but these, and what has come of packages.
    pub fn keep_programs(&self, versions: &[&str]) {
        let kept: Vec<String> = versions.iter().map(|version| file_name(version)).collect();
        clean(&self.programs(), |path| path.is_dir() && !kept.iter().any(|name| path.ends_with(name)));
        clean(&self.upgrade(), |path| path.extension().is_some_and(|kind| kind == "part"));
    }

    /// The keys by which packages for this agent are signed: those of `package.pub` in its directory and those of the
    /// variable `MUSTER_PACKAGE_KEYS`.
    ///
    /// # Errors
    /// When there is none, or one is none: then no package is taken.
    pub fn keys(&self) -> Result<Keys, String> {
        let file = self.0.join("package.pub");
        let given = read(&file).map_err(|error| format!("{}: {error}", file.display()))?.unwrap_or_default();
        let variable = std::env::var(KEYS).unwrap_or_default();
        Keys::parse(&format!("{given}\n{variable}")).map_err(|why| {
            format!(
                "{why}; packages are signed with minisign, and its public keys belong into {} or {KEYS}",
                file.display()
            )
        })
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A small file; none when it is not there.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("more than {MAX_FILE} bytes")));
    }
    Ok(Some(text))
}

fn clean(directory: &Path, is_old: impl Fn(&Path) -> bool) {
    let Ok(files) = fs::read_dir(directory) else { return };
    for path in files.flatten().map(|file| file.path()).filter(|path| is_old(path)) {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed {
            tracing::warn!(%error, file = %path.display(), "it cannot be deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Phase;
    use super::super::switch::tests::switch;
    use super::*;

    #[test]
    fn what_was_remembered_is_read_again_and_what_is_no_record_is_moved_aside() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::open(home.path()).unwrap();
        assert_eq!((places.switch().unwrap(), places.in_force().unwrap()), (None, None));
        for phase in [Phase::Staged, Phase::Tried, Phase::Proven, Phase::Failed("why".into())] {
            places.remember(&switch(phase.clone())).unwrap();
            assert_eq!(places.switch().unwrap(), Some(switch(phase)));
        }
        places.put_in_force("1.1.0").unwrap();
        assert_eq!(places.in_force().unwrap().as_deref(), Some("1.1.0"));
        places.forget().unwrap();
        places.forget().unwrap();
        assert_eq!(places.switch().unwrap(), None);
        fs::write(places.switch_file(), "{").unwrap();
        assert_eq!(places.switch().unwrap(), None);
        assert!(places.switch_file().with_extension("json.corrupt").exists());
    }

    #[test]
    fn a_version_is_a_directory_and_never_a_way_out_of_it() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::open(home.path()).unwrap();
        let part = places.part("ab");
        for version in ["../../etc", "1.1.0", "1.1.0+b/c"] {
            fs::write(&part, "x").unwrap();
            places.place(&part, version).unwrap();
            let program = places.program(version);
            assert_eq!(program.parent().unwrap().parent().unwrap(), home.path().join("bin"));
            assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::write(&part, "x").unwrap();
        places.keep_part("cd");
        assert!(!part.exists());
        places.put_in_force("1.1.0").unwrap();
        places.keep_programs(&["1.1.0"]);
        assert_eq!(fs::read_dir(home.path().join("bin")).unwrap().count(), 2);
        assert!(places.program("1.1.0").exists() && places.in_force().unwrap().is_some());
    }

    #[test]
    fn without_a_key_nothing_is_trusted() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::open(home.path()).unwrap();
        assert!(places.keys().unwrap_err().contains("package.pub"));
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        fs::write(home.path().join("package.pub"), pair.pk.to_box().unwrap().to_string()).unwrap();
        assert!(places.keys().is_ok());
        fs::write(home.path().join("package.pub"), "x".repeat(100_000)).unwrap();
        assert!(places.keys().unwrap_err().contains("more than"));
    }
}
