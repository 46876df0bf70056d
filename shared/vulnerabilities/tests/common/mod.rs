//! What the tests of the database share.
#![allow(dead_code, clippy::unwrap_used, reason = "each test takes what it needs")]

use std::io::Cursor;
use std::path::PathBuf;

use muster_vulnerabilities::{Batch, Database};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A database in a directory of its own.
pub fn database() -> (TempDir, Database) {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path()).unwrap();
    (directory, database)
}

/// A line of a snapshot.
pub fn line(name: &str, offset: u64, payload: &Value) -> String {
    json!({"name": name, "offset": offset, "version": 1, "inserted_at": "2024-01-01T00:00:00Z", "payload": payload})
        .to_string()
        + "\n"
}

/// A CVE by which Debian's `package` is affected below `fixed`.
pub fn cve(package: &str, fixed: &str) -> Value {
    json!({"containers": {"adp": [{"providerMetadata": {"shortName": "debian"}, "affected": [{
        "product": package, "platforms": ["bookworm"], "defaultStatus": "unaffected",
        "versions": [{"version": "0", "lessThan": fixed, "status": "affected", "versionType": "deb"}],
    }]}]}})
}

pub fn load(database: &Database, lines: &str, offset: u64) {
    database.load_snapshot(Cursor::new(lines), offset).unwrap();
}

pub fn batch(from: u64, to: u64, changes: Value) -> Batch {
    Batch::parse(from, to, json!({ "data": changes }).to_string().as_bytes()).unwrap()
}

/// A real input, when it is here.
pub fn real(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/cve")).join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not here", path.display());
        return None;
    }
    Some(path)
}
