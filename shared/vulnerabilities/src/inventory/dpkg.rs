//! dpkg's database: paragraphs of fields (deb822(5)), one for each package it knows.

use muster_core::problem::Problem;

use crate::package::{Package, Source};
use crate::version::Format;

/// The states in which a package's files are on the disk (dpkg(1), "package states").
const ON_DISK: [&str; 6] =
    ["installed", "unpacked", "half-configured", "half-installed", "triggers-awaited", "triggers-pending"];

/// The packages of `/var/lib/dpkg/status` whose files are on the disk.
///
/// # Errors
/// When a package has no version, or a line is no field.
pub fn status(text: &str) -> Result<Vec<Package>, Problem> {
    packages(text, |paragraph| {
        let state = paragraph.status.and_then(|status| status.split_whitespace().nth(2));
        state.is_some_and(|state| ON_DISK.contains(&state))
    })
}

/// The packages of a file of `/var/lib/dpkg/status.d`, where images without dpkg list what they are made of; all are there.
///
/// # Errors
/// When a package has no version, or a line is no field.
pub fn unpacked(text: &str) -> Result<Vec<Package>, Problem> {
    packages(text, |_| true)
}

#[derive(Default)]
struct Paragraph<'a> {
    package: Option<&'a str>,
    status: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
    source: Option<&'a str>,
}

fn packages(text: &str, is_here: impl Fn(&Paragraph<'_>) -> bool) -> Result<Vec<Package>, Problem> {
    let mut packages = Vec::new();
    let mut paragraph = Paragraph::default();
    // The empty line at the end closes the last one.
    for (line, number) in text.lines().chain([""]).zip(1_u32..) {
        if line.trim().is_empty() {
            let done = std::mem::take(&mut paragraph);
            if done.package.is_some() && is_here(&done) {
                packages.push(done.read().map_err(|problem| problem.line(number))?);
            }
            continue;
        }
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let Some((field, value)) = line.split_once(':') else {
            return Err(Problem::new("dpkg-status", "", format!("no field: {line:.60}")).line(number));
        };
        let value = Some(value.trim());
        // Names of fields have no case.
        match field {
            _ if field.eq_ignore_ascii_case("package") => paragraph.package = value,
            _ if field.eq_ignore_ascii_case("status") => paragraph.status = value,
            _ if field.eq_ignore_ascii_case("version") => paragraph.version = value,
            _ if field.eq_ignore_ascii_case("architecture") => paragraph.architecture = value,
            _ if field.eq_ignore_ascii_case("source") => paragraph.source = value,
            _ => {}
        }
    }
    Ok(packages)
}

impl Paragraph<'_> {
    fn read(self) -> Result<Package, Problem> {
        let name = self.package.unwrap_or_default().to_owned();
        let missing = || Problem::new("dpkg-status", "", format!("the package {name:.60} has no version"));
        let version = self.version.filter(|version| !version.is_empty()).ok_or_else(missing)?.to_owned();
        let arch = self.architecture.unwrap_or_default().to_owned();
        let source = self.source.filter(|source| !source.is_empty()).map(source);
        Ok(Package { name, version, arch, source, format: Format::Dpkg })
    }
}

/// `glibc`, or `linux-signed-amd64 (6.1.90+1)` where its version is another one.
fn source(text: &str) -> Source {
    let (name, version) =
        text.split_once('(').map_or((text, None), |(name, version)| (name, version.strip_suffix(')')));
    Source { name: name.trim().to_owned(), version: version.map(|version| version.trim().to_owned()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: openssh-server\nStatus: install ok installed\nArchitecture: amd64\nSource: openssh\n\
        Version: 1:9.2p1-2+deb12u2\nDescription: secure shell\n Package: not-this\n .\n more\n\n\n\
        Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n\
        package: linux-image\nSTATUS: install ok half-configured\nArchitecture: amd64\n\
        Source: linux-signed-amd64 (6.1.90+1)\nVersion: 6.1.90-1";

    #[test]
    fn what_is_on_the_disk() {
        let packages = status(STATUS).unwrap();
        let names: Vec<_> = packages.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
        assert_eq!(names, [("openssh-server", "1:9.2p1-2+deb12u2"), ("linux-image", "6.1.90-1")]);
        assert_eq!(packages[0].source, Some(Source { name: "openssh".into(), version: None }));
        assert_eq!(
            packages[1].source,
            Some(Source { name: "linux-signed-amd64".into(), version: Some("6.1.90+1".into()) })
        );
        assert_eq!(unpacked("Package: base-files\nVersion: 12.4\n").unwrap().len(), 1);
        assert_eq!(status("").unwrap(), []);
    }

    #[test]
    fn what_is_broken_is_named() {
        let problem = status("Package: a\nStatus: install ok installed\n\n").unwrap_err();
        assert_eq!((problem.code.as_str(), problem.line), ("dpkg-status", Some(3)));
        let problem = status("Package: a\nrubbish\n").unwrap_err();
        assert_eq!((problem.code.as_str(), problem.line), ("dpkg-status", Some(2)));
    }
}
