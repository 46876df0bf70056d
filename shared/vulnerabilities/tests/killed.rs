//! A node that is killed with SIGKILL in the middle of a snapshot, or of changes, has the database that it had before.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{batch, cve, line, load};
use muster_vulnerabilities::Database;
use serde_json::json;

const HOME: &str = "MUSTER_TEST_VULNERABILITIES";

/// The node: this very program, started again. It loads what it reads, and says each time that it waits for more.
#[test]
fn node() {
    let Some(home) = std::env::var_os(HOME) else { return };
    struct Told(std::io::Stdin);
    impl Read for Told {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            println!("waits");
            self.0.read(buffer)
        }
    }
    let database = Database::open(Path::new(&home)).unwrap();
    database.load_snapshot(BufReader::new(Told(std::io::stdin())), 20).unwrap();
    println!("loaded");
    for offset in 21.. {
        let change = json!([{"type": "create", "resource": "CVE-2024-0001", "offset": offset, "version": offset,
            "payload": cve("a", &format!("{offset}.0"))}]);
        database.apply(&batch(offset - 1, offset, change)).unwrap();
        println!("applied {offset}");
    }
}

fn start(home: &Path) -> (Child, impl Iterator<Item = String>) {
    let mut node = Command::new(std::env::current_exe().unwrap());
    node.args(["--exact", "node", "--nocapture"]).env(HOME, home);
    let mut node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(node.stdout.take().unwrap()).lines().map(Result::unwrap);
    (node, lines)
}

fn kill(mut node: Child) {
    node.kill().unwrap();
    node.wait().unwrap();
}

#[test]
fn in_the_middle_of_a_snapshot() {
    let (home, database) = common::database();
    load(&database, &line("CVE-2024-0001", 1, &cve("a", "2.0")), 10);
    let before = database.record("CVE-2024-0001").unwrap();
    drop(database);
    for lines in [0, 1, 500] {
        let (mut node, said) = start(home.path());
        let mut said = said.filter(|said| said.ends_with("waits"));
        said.next().unwrap();
        for number in 0..lines {
            let text = line(&format!("CVE-2025-{:04}", number + 1), 15, &cve("b", "2.0"));
            node.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
        }
        // It has read and stored what came and asks for more.
        if lines > 0 {
            said.next().unwrap();
        }
        assert!(home.path().join("loading.redb").exists(), "it is in the middle");
        kill(node);
        let database = Database::open(home.path()).unwrap();
        let contents = database.contents().unwrap();
        assert_eq!((contents.offset, contents.cves), (10, 1), "after {lines} lines");
        assert_eq!(database.record("CVE-2024-0001").unwrap(), before);
        assert!(!home.path().join("loading.redb").exists(), "what was begun is gone");
    }
}

#[test]
fn in_the_middle_of_changes() {
    let home = tempfile::tempdir().unwrap();
    for round in [1, 2, 5, 9] {
        let (mut node, mut said) = start(home.path());
        drop(node.stdin.take());
        let applied =
            (&mut said).filter_map(|said| said.strip_prefix("applied ").map(|offset| offset.parse::<u64>().unwrap()));
        let last = applied.take(round).last().unwrap();
        kill(node);
        let told = said.filter_map(|said| said.strip_prefix("applied ").map(|offset| offset.parse::<u64>().unwrap()));
        let last = told.fold(last, u64::max);
        let database = Database::open(home.path()).unwrap();
        let contents = database.contents().unwrap();
        // The one that it did not come to tell of may be there; record and database then say the same.
        assert!(contents.offset == last || contents.offset == last + 1, "{contents:?}, told {last}");
        let record = database.record("CVE-2024-0001").unwrap().unwrap();
        assert_eq!((record.offset, record.version), (contents.offset, contents.offset));
        assert_eq!(record.payload, cve("a", &format!("{}.0", contents.offset)));
    }
}
