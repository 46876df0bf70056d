//! The real snapshot and the real changes: all that is in them can be found again.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::BufReader;

use muster_vulnerabilities::products::products;
use muster_vulnerabilities::{Batch, CveId, Database, Error, Finding, Findings, Format, Os, Package, Record};
use serde_json::{Value, json};
use tempfile::TempDir;

fn real() -> Option<(TempDir, Database, Vec<Record>)> {
    let path = common::real("cti-snapshot.ndjson")?;
    let (directory, database) = common::database();
    let records: Vec<Record> =
        fs::read_to_string(&path).unwrap().lines().map(|line| Record::parse(line.as_bytes()).unwrap()).collect();
    let last = records.iter().map(|record| record.offset).max().unwrap();
    database.load_snapshot(BufReader::new(File::open(path).unwrap()), last).unwrap();
    Some((directory, database, records))
}

fn os(distribution: &str, version: &str, codename: Option<&str>) -> Os {
    Os { distribution: distribution.into(), version: version.into(), codename: codename.map(Into::into) }
}

fn package(format: Format, name: &str, version: &str) -> Package {
    Package { name: name.into(), version: version.into(), arch: "x".into(), source: None, format }
}

#[test]
fn every_cve_is_indexed_under_every_product() {
    let Some((_directory, database, records)) = real() else { return };
    let cves: Vec<&Record> = records.iter().filter(|record| record.name.parse::<CveId>().is_ok()).collect();
    let contents = database.contents().unwrap();
    assert_eq!((contents.cves, contents.others), (cves.len() as u64, (records.len() - cves.len()) as u64));
    assert!(contents.cves > 10 && contents.others > 0 && contents.unreadable == 0, "{contents:?}");
    let mut rows = 0;
    for record in &cves {
        let products = products(&record.payload);
        assert!(!products.by_name.is_empty(), "{}", record.name);
        for (container, product) in products.by_name.keys() {
            assert!(
                database.cves_of(container, product).unwrap().iter().any(|cve| cve.to_string() == record.name),
                "{} is not found under {product} of {container}",
                record.name
            );
            rows += 1;
        }
    }
    eprintln!("{} CVEs, {rows} rows", cves.len());
    for record in &records {
        assert_eq!(database.record(&record.name).unwrap().as_ref(), Some(record));
    }
}

/// What the records say, read by hand.
#[test]
fn known_packages_have_known_vulnerabilities() {
    let Some((_directory, database, _)) = real() else { return };
    let scan = |os: &Os, package: Package| -> Findings { database.match_packages(os, &[package]).unwrap() };
    let cve = |found: &Findings, cve: &str| -> Option<Finding> {
        found.findings.iter().find(|finding| finding.cve.to_string() == cve).cloned()
    };
    let bookworm = os("debian", "12", Some("bookworm"));
    let old = scan(&bookworm, package(Format::Dpkg, "openssh-server", "1:9.2p1-2+deb12u2"));
    let regresshion = cve(&old, "CVE-2024-6387").unwrap();
    assert_eq!(serde_json::to_value(regresshion.severity).unwrap(), "high");
    assert_eq!(regresshion.fixed.as_deref(), Some("1:9.2p1-2+deb12u3"));
    let new = scan(&bookworm, package(Format::Dpkg, "openssh-server", "1:9.2p1-2+deb12u3"));
    assert_eq!(cve(&new, "CVE-2024-6387"), None);
    assert_eq!((new.scanned, new.unlisted), (1, 0));

    let rhel = os("rhel", "9.4", None);
    let old = scan(&rhel, package(Format::Rpm, "openssh-server", "8.7p1-38.el9"));
    assert!(cve(&old, "CVE-2024-6387").is_some_and(|finding| finding.fixed.is_some()));
    let rhel7 = scan(&os("rhel", "7.9", None), package(Format::Rpm, "openssh", "7.4p1-23.el7_9"));
    assert!(cve(&rhel7, "CVE-2023-51385").is_some_and(|finding| finding.fixed.is_none()));
    assert_eq!(cve(&rhel7, "CVE-2024-6387"), None);

    let bionic = scan(&os("ubuntu", "18.04", Some("bionic")), package(Format::Dpkg, "winbind", "2:4.7.6"));
    assert!(bionic.undetermined.iter().any(|one| one.cve.is_some_and(|cve| cve.to_string() == "CVE-2023-34966")));
    let fedora = scan(&os("fedora", "40", None), package(Format::Rpm, "xz", "5.6.0-1.fc40"));
    assert_eq!((fedora.scanned, fedora.undetermined.len()), (0, 1));
}

/// Each record is patched: an update of the metadata, and the first entry of the first distribution gets another name.
#[test]
fn every_record_can_be_patched() {
    let Some((_directory, database, records)) = real() else { return };
    let start = database.contents().unwrap().offset;
    let changes: Vec<Value> = records
        .iter()
        .zip(start + 1..)
        .map(|(record, offset)| {
            let mut operations = vec![json!({"op": "add", "path": "/x_patched", "value": offset})];
            if record.payload.pointer("/containers/adp/0/affected/0/product").is_some() {
                let path = "/containers/adp/0/affected/0/product";
                operations.push(json!({"op": "replace", "path": path, "value": "patched"}));
            }
            let version = record.version + 1;
            json!({"type": "update", "resource": record.name, "offset": offset, "version": version, "operations": operations})
        })
        .collect();
    let end = start + changes.len() as u64;
    let applied = database.apply(&common::batch(start, end, changes.into())).unwrap();
    assert_eq!((applied.changes, applied.contents.offset), (records.len(), end));
    for (record, offset) in records.iter().zip(start + 1..) {
        let now = database.record(&record.name).unwrap().unwrap();
        assert_eq!((now.offset, now.version, &now.payload["x_patched"]), (offset, record.version + 1, &json!(offset)));
        for ((container, product), _) in products(&now.payload).by_name {
            assert!(database.cves_of(&container, &product).unwrap().iter().any(|cve| cve.to_string() == record.name));
        }
        for (container, product) in products(&record.payload).by_name.into_keys() {
            let gone = !products(&now.payload).by_name.contains_key(&(container.clone(), product.clone()));
            let found =
                database.cves_of(&container, &product).unwrap().iter().any(|cve| cve.to_string() == record.name);
            assert_ne!(gone, found, "{} {container} {product}", record.name);
        }
    }
}

#[test]
fn the_real_changes() {
    let Some(path) = common::real("cti-changes.json") else { return };
    let body = fs::read(path).unwrap();
    let (_directory, database) = common::database();
    let applied = database.apply(&Batch::parse(0, 1, &body).unwrap()).unwrap();
    assert_eq!((applied.changes, applied.contents.cves), (1, 1));
    assert_eq!(database.cves_of("debian", "bash").unwrap().len(), 1);

    // It is older than every record of the snapshot: there it is a repeat, and from further on a gap.
    let Some((_directory, database, records)) = real() else { return };
    assert!(records.iter().all(|record| record.offset > 1));
    assert_eq!(database.apply(&Batch::parse(0, 1, &body).unwrap()).unwrap().changes, 0);
    let have = database.contents().unwrap().offset;
    let refused = database.apply(&Batch { from: have + 1, to: have + 2, changes: Vec::new() });
    assert!(matches!(refused, Err(Error::Gap { .. })));
}
