//! The packages of a system: on a tree of files, on this very system, and with programs that stand in for rpm where rpm is not.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use muster_vulnerabilities::inventory::Place;
use muster_vulnerabilities::{Format, Source};
use tempfile::TempDir;

const OS: &str = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";

/// A system of these files. Its rpm is not there, unless a test writes it.
fn system(files: &[(&str, &str)]) -> (TempDir, Place) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let place = Place { root: root.path().into(), rpm: root.path().join("rpm"), timeout: Duration::from_secs(60) };
    (root, place)
}

fn rpm(root: &Path, script: &str) {
    fs::write(root.join("rpm"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(root.join("rpm"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn dpkg_and_what_images_list() {
    let paragraph = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n";
    let (_root, place) = system(&[
        ("usr/lib/os-release", OS),
        ("var/lib/dpkg/status", paragraph),
        ("var/lib/dpkg/status.d/base", "Package: base-files\nSource: base\nVersion: 12.4\nArchitecture: amd64\n"),
        ("var/lib/dpkg/status.d/base.md5sums", "d41d8cd98f00b204e9800998ecf8427e  etc/motd\n"),
    ]);
    let inventory = place.inventory().unwrap();
    assert_eq!((inventory.os.distribution.as_str(), inventory.os.codename.as_deref()), ("debian", Some("bookworm")));
    let names: Vec<_> = inventory.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["a", "base-files"]);
    assert_eq!(inventory.packages[1].source, Some(Source { name: "base".into(), version: None }));
}

#[test]
fn rpm_answers() {
    let (root, place) = system(&[("etc/os-release", "ID=rhel\nVERSION_ID=9.4\n")]);
    // It answers in the form that it is asked for.
    rpm(
        root.path(),
        r#"[ "$1 $2" = "-qa --qf" ] || exit 2
        printf 'bind-libs\t32:9.16.23-18.el9\tx86_64\tbind-9.16.23-18.el9.src.rpm\n'"#,
    );
    let inventory = place.inventory().unwrap();
    assert_eq!(inventory.packages.len(), 1);
    assert_eq!(
        (inventory.packages[0].version.as_str(), inventory.packages[0].format),
        ("32:9.16.23-18.el9", Format::Rpm)
    );
}

#[test]
fn what_cannot_be_listed_is_an_error() {
    let code = |place: &Place| place.inventory().unwrap_err().code;
    assert_eq!(code(&system(&[]).1), "no-os-release");
    assert_eq!(code(&system(&[("etc/os-release", OS)]).1), "no-package-manager");
    let (root, mut place) = system(&[("etc/os-release", OS)]);
    for (script, expected, timeout) in [
        ("exit 1", "rpm-fails", 60_000),
        ("echo error: cannot open", "rpm-answer", 60_000),
        ("while :; do printf '%01000000d' 0; done", "rpm-fails", 60_000),
        ("while :; do sleep 0.05; done", "rpm-fails", 100),
        // It closes its output and goes on.
        ("exec >&-; while :; do sleep 0.05; done", "rpm-fails", 100),
    ] {
        rpm(root.path(), script);
        place.timeout = Duration::from_millis(timeout);
        assert_eq!(code(&place), expected, "{script}");
    }
    fs::create_dir_all(root.path().join("var/lib/dpkg/status")).unwrap();
    assert_eq!(code(&place), "unreadable");
}

/// What dpkg itself says is installed here.
#[test]
fn this_system() {
    let Ok(output) = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status} ${Package} ${Version} ${source:Package} ${source:Version}\n"])
        .output()
    else {
        eprintln!("skipped: dpkg is not here");
        return;
    };
    let mut theirs: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("installed ").map(str::to_owned))
        .collect();
    let inventory = Place { rpm: "/nonexistent/rpm".into(), ..Place::default() }.inventory().unwrap();
    let mut ours: Vec<String> = inventory
        .packages
        .iter()
        .map(|package| {
            let Source { name, version } =
                package.source.clone().unwrap_or_else(|| Source { name: package.name.clone(), version: None });
            format!(
                "{} {} {name} {}",
                package.name,
                package.version,
                version.unwrap_or_else(|| package.version.clone())
            )
        })
        .collect();
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);
    assert!(inventory.packages.iter().all(|package| Format::Dpkg.version(&package.version).is_some()));
}
