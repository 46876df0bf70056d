//! Which packages a Linux system has: dpkg's files, rpm's answer, os-release. The parsers are pure; what cannot be read is an error
//! and never an empty list.

pub mod dpkg;
pub mod os_release;
pub mod rpm;

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_core::problem::Problem;
use serde::{Deserialize, Serialize};

use crate::matching::MAX_PACKAGES;
use crate::package::{Os, Package};

/// The largest of dpkg's files, in bytes. A system of 50,000 packages has 60 MB.
const MAX_STATUS: u64 = 256 * 1024 * 1024;
/// The largest os-release, in bytes.
const MAX_OS_RELEASE: u64 = 64 * 1024;
/// The most files in `status.d`.
const MAX_FILES: usize = 10_000;

/// A system and its packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The system.
    pub os: Os,
    /// Its packages.
    pub packages: Vec<Package>,
}

/// Where an inventory is taken.
#[derive(Debug, Clone)]
pub struct Place {
    /// The root of the system.
    pub root: PathBuf,
    /// rpm's program. It is asked about the system that it runs in, whatever the root.
    pub rpm: PathBuf,
    /// How long rpm may take.
    pub timeout: Duration,
}

impl Default for Place {
    fn default() -> Self {
        Self { root: "/".into(), rpm: "/usr/bin/rpm".into(), timeout: Duration::from_secs(60) }
    }
}

impl Place {
    /// Takes the inventory. Packages of both managers are listed where both are: an rpm program on a Debian lists none.
    ///
    /// # Errors
    /// When the system does not say what it is, has neither dpkg nor rpm, or a file or an answer cannot be read.
    pub fn inventory(&self) -> Result<Inventory, Problem> {
        let os = self.os()?;
        let dpkg = self.dpkg()?;
        let rpm = rpm::list(&self.rpm, self.timeout)?;
        if dpkg.is_none() && rpm.is_none() {
            let message = "neither dpkg's status nor rpm is there: the packages of this system cannot be listed";
            return Err(Problem::new("no-package-manager", "", message));
        }
        let packages: Vec<Package> = dpkg.into_iter().chain(rpm).flatten().collect();
        if packages.len() > MAX_PACKAGES {
            let message = format!("{} packages; a system has at most {MAX_PACKAGES}", packages.len());
            return Err(Problem::new("too-many-packages", "", message));
        }
        Ok(Inventory { os, packages })
    }

    fn os(&self) -> Result<Os, Problem> {
        for path in ["etc/os-release", "usr/lib/os-release"] {
            if let Some(text) = read(&self.root.join(path), MAX_OS_RELEASE)? {
                return os_release::parse(&text);
            }
        }
        Err(Problem::new("no-os-release", "", "there is no /etc/os-release: the system does not say what it is"))
    }

    /// None when dpkg is not here.
    fn dpkg(&self) -> Result<Option<Vec<Package>>, Problem> {
        let home = self.root.join("var/lib/dpkg");
        let status = read(&home.join("status"), MAX_STATUS)?;
        let files = list(&home.join("status.d"))?;
        if status.is_none() && files.is_empty() {
            return Ok(None);
        }
        let mut packages = status.map(|text| dpkg::status(&text)).transpose()?.unwrap_or_default();
        for file in files {
            packages.extend(dpkg::unpacked(&read(&file, MAX_STATUS)?.unwrap_or_default())?);
        }
        Ok(Some(packages))
    }
}

/// The files of a directory in their order, without those that hold checksums. None when there is no such directory.
fn list(directory: &Path) -> Result<Vec<PathBuf>, Problem> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| unreadable(directory, &error))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(directory, &error))?.path();
        if path.extension().is_none_or(|extension| extension != "md5sums") {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            let message = format!("{} holds more than {MAX_FILES} files", directory.display());
            return Err(Problem::new("too-many-files", "", message));
        }
    }
    files.sort();
    Ok(files)
}

/// The text of a file; none when there is no such file. What is not UTF-8 in it is replaced: descriptions and names of people may be old.
fn read(path: &Path, limit: u64) -> Result<Option<String>, Problem> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| unreadable(path, &error))?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > limit {
        return Err(Problem::new("too-large", "", format!("{} has more than {limit} bytes", path.display())));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new("unreadable", "", format!("{}: {error}", path.display()))
}
