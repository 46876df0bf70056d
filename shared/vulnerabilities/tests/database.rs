//! The database: snapshots, changes, offsets, and what is refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufReader, Cursor, Read};

use common::{batch, cve, database, line, load};
use muster_vulnerabilities::feed::MAX_RECORD;
use muster_vulnerabilities::{Applied, Batch, Contents, Database, Error, Format, Os, Package};
use serde_json::{Value, json};

/// The CVEs that a package of version 1.0 has.
fn found(database: &Database, package: &str) -> Vec<String> {
    let os = Os { distribution: "debian".into(), version: "12".into(), codename: None };
    let package =
        Package { name: package.into(), version: "1.0".into(), arch: "all".into(), source: None, format: Format::Dpkg };
    let found = database.match_packages(&os, &[package]).unwrap();
    found.findings.iter().map(|finding| finding.cve.to_string()).collect()
}

fn contents(offset: u64, cves: u64, others: u64) -> Contents {
    Contents { offset, cves, others, unreadable: 0 }
}

/// Two CVEs and two other records, not in the order of their offsets.
fn snapshot() -> String {
    [
        line("CVE-2024-0002", 9, &cve("b", "2.0")),
        line("TID-0001", 3, &json!({"action": []})),
        "\n".into(),
        line("CVE-2024-0001", 7, &cve("a", "2.0")),
        line("FEED-GLOBAL", 1, &json!({})).trim_end().into(),
    ]
    .concat()
}

fn create(offset: u64, name: &str, payload: &Value) -> Value {
    json!({"type": "create", "resource": name, "offset": offset, "version": 1, "context": "vulnerabilities", "payload": payload})
}

fn update(offset: u64, name: &str, operations: &Value) -> Value {
    json!({"type": "update", "resource": name, "offset": offset, "version": 2, "operations": operations})
}

fn delete(offset: u64, name: &str) -> Value {
    json!({"type": "delete", "resource": name, "offset": offset, "version": 3})
}

const FIXED: &str = "/containers/adp/0/affected/0/versions/0/lessThan";

#[test]
fn a_snapshot_replaces_all_and_survives() {
    let (directory, database) = database();
    assert_eq!(database.contents().unwrap(), contents(0, 0, 0));
    load(&database, &line("CVE-2020-0001", 1, &cve("old", "2.0")), 50);
    assert_eq!(found(&database, "old"), ["CVE-2020-0001"]);
    load(&database, &snapshot(), 10);
    assert_eq!(database.contents().unwrap(), contents(10, 2, 2));
    assert_eq!(found(&database, "a"), ["CVE-2024-0001"]);
    assert_eq!(found(&database, "old"), Vec::<String>::new());
    assert_eq!(database.record("CVE-2024-0001").unwrap().unwrap().offset, 7);
    drop(database);
    let database = Database::open(directory.path()).unwrap();
    assert_eq!(database.contents().unwrap(), contents(10, 2, 2));
    assert_eq!(found(&database, "b"), ["CVE-2024-0002"]);
    assert!(matches!(database.require(11), Err(Error::Behind { have: 10, want: 11 })));
    database.require(10).unwrap();
}

#[test]
fn of_two_records_of_a_name_the_newest_counts() {
    let (_directory, database) = database();
    let lines = [("new", 8), ("old", 5), ("older", 3)]
        .map(|(package, offset)| line("CVE-2024-0001", offset, &cve(package, "2.0")));
    for lines in [lines.concat(), lines.iter().rev().map(String::as_str).collect()] {
        load(&database, &lines, 10);
        assert_eq!(database.contents().unwrap(), contents(10, 1, 0));
        assert_eq!(["new", "old", "older"].map(|package| found(&database, package).len()), [1, 0, 0]);
    }
}

#[test]
fn a_line_that_is_no_record_is_named_and_changes_nothing() {
    let (directory, database) = database();
    load(&database, &snapshot(), 10);
    let good = line("CVE-2024-0003", 11, &cve("c", "2.0"));
    let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
    for (bad, code) in [
        ("{\"name\":".into(), "json"),
        ("{}".into(), "json"),
        (line("", 1, &json!({})), "schema"),
        (line(&"x".repeat(257), 1, &json!({})), "schema"),
        (line("TID-1", 1, &json!([])), "schema"),
        (format!(r#"{{"name":"TID-1","offset":1,"version":1,"payload":{{"a":{deep}}}}}"#), "too-deep"),
        (format!(r#"{{"name":"TID-1","offset":1,"version":1,"payload":{}}}"#, deep.replace('1', &deep)), "json"),
        (line("TID-1", 1, &json!({"a": "x".repeat(MAX_RECORD)})), "too-large"),
        ("\u{0}".into(), "json"),
    ] {
        let lines = format!("{good}\n{bad}\n{good}");
        let refused = database.load_snapshot(Cursor::new(lines), 20);
        let Err(Error::Malformed(problem)) = refused else { panic!("{refused:?}") };
        assert_eq!((problem.code.as_str(), problem.line), (code, Some(3)), "{problem}");
        assert_eq!(database.contents().unwrap(), contents(10, 2, 2));
        assert_eq!(found(&database, "c"), Vec::<String>::new());
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "what was begun is gone");
}

/// A record of exactly the limit, and a reader that fails half way.
#[test]
fn limits_and_a_reader_that_fails() {
    let (_directory, database) = database();
    let frame = line("TID-1", 1, &json!({"a": ""})).trim_end().len();
    let largest = line("TID-1", 1, &json!({"a": "x".repeat(MAX_RECORD - frame)}));
    assert_eq!(largest.trim_end().len(), MAX_RECORD);
    load(&database, &(largest + &snapshot()), 10);
    assert_eq!(database.contents().unwrap(), contents(10, 2, 3));

    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the line is cut"))
        }
    }
    let first = line("CVE-2024-0009", 1, &cve("z", "2.0"));
    let refused = database.load_snapshot(BufReader::new(first.as_bytes().chain(Fails)), 20);
    assert!(matches!(refused, Err(Error::Store(why)) if why.contains("the line is cut")));
    assert_eq!(database.contents().unwrap(), contents(10, 2, 3));
}

#[test]
fn changes_in_their_order() {
    let (directory, database) = database();
    load(&database, &snapshot(), 10);
    let rename = json!([{"op": "replace", "path": "/containers/adp/0/affected/0/product", "value": "c"}]);
    let changes = json!([
        create(11, "CVE-2024-0003", &cve("a", "3.0")),
        update(12, "CVE-2024-0001", &rename),
        delete(14, "CVE-2024-0002"),
        update(15, "CVE-2024-0003", &json!([{"op": "replace", "path": FIXED, "value": "0.5"}])),
        delete(16, "CVE-2019-0001"),
        create(17, "TID-0001", &json!({"action": ["x"]})),
        delete(18, "FEED-GLOBAL"),
    ]);
    let applied = database.apply(&batch(10, 20, changes)).unwrap();
    assert_eq!(applied, Applied { changes: 6, contents: contents(20, 2, 1) });
    assert_eq!(["a", "b", "c"].map(|package| found(&database, package).concat()), ["", "", "CVE-2024-0001"]);
    let record = database.record("CVE-2024-0001").unwrap().unwrap();
    assert_eq!((record.offset, record.version), (12, 2), "the record's own offset and version");
    assert_eq!(database.record("CVE-2024-0002").unwrap(), None);
    drop(database);
    let database = Database::open(directory.path()).unwrap();
    assert_eq!(database.contents().unwrap(), contents(20, 2, 1), "and the database's");
    assert_eq!(database.record("CVE-2024-0001").unwrap().unwrap(), record);
}

#[test]
fn a_repeat_changes_nothing() {
    let (_directory, database) = database();
    load(&database, &snapshot(), 10);
    let raise = |offset, value: &str| {
        update(
            offset,
            "CVE-2024-0001",
            &json!([
        {"op": "test", "path": FIXED, "value": "2.0"}, {"op": "replace", "path": FIXED, "value": value}]),
        )
    };
    let first = batch(10, 12, json!([raise(11, "3.0")]));
    assert_eq!(database.apply(&first).unwrap().changes, 1);
    // The test in it would fail on what it has made.
    assert_eq!(database.apply(&first).unwrap(), Applied { changes: 0, contents: contents(12, 2, 2) });
    // A part of it again, with what follows.
    let more = batch(10, 14, json!([raise(11, "3.0"), create(13, "CVE-2024-0004", &cve("d", "2.0"))]));
    assert_eq!(database.apply(&more).unwrap(), Applied { changes: 1, contents: contents(14, 3, 2) });
    // An older one does not take the database back.
    assert_eq!(database.apply(&batch(5, 9, json!([delete(6, "CVE-2024-0004")]))).unwrap().contents, contents(14, 3, 2));
}

#[test]
fn a_gap_asks_for_the_snapshot() {
    let (_directory, database) = database();
    load(&database, &snapshot(), 10);
    let refused = database.apply(&batch(11, 12, json!([delete(12, "CVE-2024-0001")]))).unwrap_err();
    assert!(matches!(refused, Error::Gap { have: 10, from: 11 }) && refused.needs_snapshot());
    assert_eq!(database.contents().unwrap(), contents(10, 2, 2));
    load(&database, &line("CVE-2024-0002", 9, &cve("b", "2.0")), 12);
    assert_eq!(database.contents().unwrap(), contents(12, 1, 0));
}

#[test]
fn a_batch_is_all_or_nothing() {
    let (_directory, database) = database();
    load(&database, &snapshot(), 10);
    for last in [
        update(13, "CVE-2024-0001", &json!([{"op": "remove", "path": "/nothing"}])),
        update(13, "CVE-2023-9999", &json!([])),
        // What an earlier change of the batch takes away is not there for a later one.
        update(13, "CVE-2024-0002", &json!([])),
    ] {
        let changes = json!([create(11, "CVE-2024-0003", &cve("c", "2.0")), delete(12, "CVE-2024-0002"), last]);
        let refused = database.apply(&batch(10, 13, changes)).unwrap_err();
        assert!(matches!(refused, Error::Diverged { offset: 13, .. }) && refused.needs_snapshot(), "{refused}");
        assert_eq!(database.contents().unwrap(), contents(10, 2, 2));
        assert_eq!(["a", "b", "c"].map(|package| found(&database, package).len()), [1, 1, 0]);
        assert_eq!(database.record("CVE-2024-0003").unwrap(), None);
    }
}

#[test]
fn a_snapshot_may_be_ahead_of_its_offset() {
    let (_directory, database) = database();
    load(&database, &line("CVE-2024-0001", 12, &cve("a", "3.0")), 10);
    let late = update(11, "CVE-2024-0001", &json!([{"op": "test", "path": FIXED, "value": "1.0"}]));
    let changes = json!([late, update(12, "CVE-2024-0001", &json!([])), update(13, "CVE-2024-0001", &json!([]))]);
    assert_eq!(database.apply(&batch(10, 13, changes)).unwrap().changes, 1);
    assert_eq!(database.record("CVE-2024-0001").unwrap().unwrap().offset, 13);
}

#[test]
fn answers_that_are_none() {
    let body = |changes: Value| json!({ "data": changes }).to_string();
    for (from, to, body, code, pointer) in [
        (0, 9, "[]".into(), "json", ""),
        (0, 9, "{\"data\":{}}".into(), "json", ""),
        (9, 0, body(json!([])), "offsets", ""),
        (0, 9, body(json!([delete(0, "A")])), "offsets", "/data/0/offset"),
        (0, 9, body(json!([delete(10, "A")])), "offsets", "/data/0/offset"),
        (0, 9, body(json!([delete(2, "A"), delete(2, "B")])), "offsets", "/data/1/offset"),
        (0, 9, body(json!([delete(1, "")])), "schema", "/data/0/resource"),
        (0, 9, body(json!([create(1, "A", &json!("text"))])), "schema", "/data/0/payload"),
        (0, 9, body(json!([{"type": "create", "resource": "A", "offset": 1}])), "schema", "/data/0/payload"),
        (0, 9, body(json!([{"type": "update", "resource": "A", "offset": 1}])), "schema", "/data/0/operations"),
        (0, 9, body(json!([{"type": "upsert", "resource": "A", "offset": 1}])), "schema", "/data/0/type"),
        (0, 2000, body((1..=1001).map(|offset| delete(offset, "A")).collect()), "too-many-changes", "/data"),
        (
            0,
            9,
            body(json!([update(1, "A", &json!(vec![json!({}); 10_001]))])),
            "too-many-operations",
            "/data/0/operations",
        ),
    ] {
        let problem = Batch::parse(from, to, body.as_bytes()).unwrap_err();
        assert_eq!((problem.code.as_str(), problem.pointer.as_str()), (code, pointer), "{body:.100}");
    }
}

#[test]
fn what_is_broken_on_the_disk_is_begun_anew() {
    let (directory, database) = database();
    load(&database, &snapshot(), 10);
    let again = Database::open(directory.path());
    assert!(matches!(again, Err(Error::Locked(_))), "one process at a time");
    drop(database);
    let file = directory.path().join("vulnerabilities.redb");
    for bytes in [b"no database at all".to_vec(), Vec::new(), vec![0; 8192]] {
        fs::write(&file, bytes).unwrap();
        let database = Database::open(directory.path()).unwrap();
        assert_eq!(database.contents().unwrap(), contents(0, 0, 0));
        load(&database, &snapshot(), 10);
        assert_eq!(found(&database, "a"), ["CVE-2024-0001"]);
    }
}

#[test]
fn scans_go_on_while_a_snapshot_is_loaded() {
    let (_directory, database) = database();
    load(&database, &snapshot(), 10);
    /// Gives its lines only after it has looked at the database.
    struct Slow<'a>(&'a Database, Cursor<String>);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            assert_eq!(found(self.0, "a"), ["CVE-2024-0001"]);
            assert_eq!(self.0.contents().unwrap().offset, 10);
            self.1.read(buffer)
        }
    }
    let lines = line("CVE-2025-0001", 11, &cve("a", "2.0"));
    database.load_snapshot(BufReader::new(Slow(&database, Cursor::new(lines))), 20).unwrap();
    assert_eq!(found(&database, "a"), ["CVE-2025-0001"]);
}
