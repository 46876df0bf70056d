//! JSON Patch, by the table of cases in `cases/patches.json`: through the database, so that nothing of a batch that fails stays.
#![allow(clippy::unwrap_used)]

mod common;

use muster_vulnerabilities::{Batch, Error};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    record: Value,
    operations: Value,
    result: Option<Value>,
    problem: Option<(String, String)>,
}

#[test]
fn cases() {
    let (_directory, database) = common::database();
    let cases: Vec<Case> = serde_json::from_str(include_str!("../cases/patches.json")).unwrap();
    assert!(cases.len() > 20);
    for Case { case, record, operations, result, problem } in cases {
        common::load(&database, &common::line("TID-1", 5, &record), 10);
        let changes = json!({"data": [
            {"type": "update", "resource": "TID-1", "offset": 11, "version": 2, "operations": operations},
            {"type": "create", "resource": "TID-2", "offset": 12, "version": 1, "payload": {}},
        ]});
        let applied = Batch::parse(10, 12, changes.to_string().as_bytes())
            .map_err(Error::from)
            .and_then(|batch| database.apply(&batch));
        let now = database.record("TID-1").unwrap().unwrap();
        let other = database.record("TID-2").unwrap();
        match (applied, result, problem) {
            (Ok(applied), Some(result), None) => {
                assert_eq!((now.payload, now.offset, now.version), (result, 11, 2), "{case}");
                assert_eq!((applied.changes, applied.contents.offset), (2, 12), "{case}");
                assert!(other.is_some(), "{case}");
            }
            (Err(error), None, Some((code, pointer))) => {
                let problem = match error {
                    Error::Diverged { offset: 11, problem, .. } => *problem,
                    Error::Malformed(problem) => problem,
                    other => panic!("{case}: {other}"),
                };
                assert_eq!((problem.code, problem.pointer), (code, pointer), "{case}");
                assert_eq!((now.payload, now.offset, now.version), (record, 5, 1), "{case}");
                assert_eq!((other, database.contents().unwrap().offset), (None, 10), "{case}");
            }
            (applied, ..) => panic!("{case}: {applied:?}"),
        }
    }
}
