//! Programs of active responses: only files of the agent's own directory, and only such as nobody else could have put
//! there.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::report::Fault;

/// Where the programs lie, below the agent's directory.
const DIRECTORY: &str = "active-response/bin";

/// A program that may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable(PathBuf);

impl Executable {
    /// Looks for the program `name` in `active-response/bin` below the agent's directory `home`.
    ///
    /// It must be a regular file that is executable and begins as an ELF file or with `#!` (for anything else the C
    /// library would start a shell). The file and the directory belong to root or to the agent's user, and not everybody
    /// may write to them. A link may lead to another file of the directory, not out of it.
    ///
    /// # Errors
    /// [`Fault::NotFound`] or [`Fault::NotExecutable`], which says why.
    pub fn find(home: &Path, name: &str) -> Result<Self, Fault> {
        let refused = |why: &str| Fault::NotExecutable(format!("'{name}' {why}"));
        if name.is_empty() || name.starts_with(['.', '!']) || name.contains(['/', '\0']) || name.contains("..") {
            return Err(refused("is not the bare name of a file"));
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Fault::NotFound(name.to_owned()),
            _ => refused(&error.to_string()),
        };
        let directory = fs::canonicalize(home.join(DIRECTORY)).map_err(failed)?;
        if let Some(why) = unsafe_owner(&fs::metadata(&directory).map_err(failed)?) {
            return Err(Fault::NotExecutable(format!("the directory {DIRECTORY} {why}")));
        }
        let path = fs::canonicalize(directory.join(name)).map_err(failed)?;
        if path.parent() != Some(&directory) {
            return Err(refused(&format!("leads out of {DIRECTORY}")));
        }
        let metadata = fs::metadata(&path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(refused("is not a regular file"));
        }
        if let Some(why) = unsafe_owner(&metadata) {
            return Err(refused(why));
        }
        if metadata.permissions().mode() & 0o111 == 0 {
            return Err(refused("is not executable"));
        }
        if !is_program(&path).map_err(failed)? {
            return Err(refused("is neither an ELF file nor begins with #!"));
        }
        Ok(Self(path))
    }

    /// Its absolute path, without links.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Why the owner or the permissions leave it open who wrote this.
fn unsafe_owner(metadata: &Metadata) -> Option<&'static str> {
    let own = rustix::process::geteuid().as_raw();
    if ![0, own].contains(&metadata.uid()) {
        return Some("belongs neither to root nor to the agent's user");
    }
    (metadata.permissions().mode() & 0o002 != 0).then_some("can be written by everybody")
}

fn is_program(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut head)?;
    Ok(head.starts_with(b"#!") || head == b"\x7fELF")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(path: &Path, content: &str, mode: u32) {
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_what_is_safe_is_found() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let bin = home.join(DIRECTORY);
        assert!(matches!(Executable::find(home, "ok"), Err(Fault::NotFound(_))), "no directory");
        fs::create_dir_all(&bin).unwrap();
        put(&bin.join("ok"), "#!/bin/sh\n", 0o755);
        put(&bin.join("plain"), "#!/bin/sh\n", 0o644);
        put(&bin.join("open"), "#!/bin/sh\n", 0o757);
        put(&bin.join("shell"), "echo $0\n", 0o755);
        put(&home.join("outside"), "#!/bin/sh\n", 0o755);
        fs::create_dir(bin.join("folder")).unwrap();
        symlink(bin.join("ok"), bin.join("inside")).unwrap();
        symlink("../../outside", bin.join("out")).unwrap();
        symlink("nowhere", bin.join("broken")).unwrap();
        symlink("loop", bin.join("loop")).unwrap();

        let ok = fs::canonicalize(bin.join("ok")).unwrap();
        assert_eq!(Executable::find(home, "ok").unwrap().path(), ok);
        assert_eq!(Executable::find(home, "inside").unwrap().path(), ok);
        for (name, why) in [
            ("plain", "not executable"),
            ("open", "everybody"),
            ("shell", "#!"),
            ("folder", "regular"),
            ("out", "out of"),
            ("loop", ""),
            ("", "bare name"),
            ("..", "bare name"),
            ("../../outside", "bare name"),
            ("./ok", "bare name"),
            ("!ok", "bare name"),
            ("ok\0", "bare name"),
        ] {
            match Executable::find(home, name) {
                Err(Fault::NotExecutable(text)) => assert!(text.contains(why), "{name}: {text}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        for name in ["missing", "broken"] {
            assert_eq!(Executable::find(home, name), Err(Fault::NotFound(name.into())));
        }
    }

    #[test]
    fn a_directory_that_everybody_can_write_holds_no_programs() {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join(DIRECTORY);
        fs::create_dir_all(&bin).unwrap();
        put(&bin.join("ok"), "#!/bin/sh\n", 0o755);
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Executable::find(home.path(), "ok"), Err(Fault::NotExecutable(_))));
    }

    #[test]
    fn a_foreign_owner_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join(DIRECTORY);
        fs::create_dir_all(&bin).unwrap();
        put(&bin.join("ok"), "#!/bin/sh\n", 0o755);
        // Only root can give a file away; elsewhere there is nothing to see.
        if std::os::unix::fs::chown(bin.join("ok"), Some(12345), None).is_ok() {
            assert!(matches!(Executable::find(home.path(), "ok"), Err(Fault::NotExecutable(_))));
        }
    }
}
