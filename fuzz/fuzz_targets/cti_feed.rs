//! Any bytes as what the CTI feed sends: a line of a snapshot, and after a line of '===' changes of it. All is answered; what is
//! taken keeps to its limits, and what it says of a package is judged for any version, which is what the name of its product holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_vulnerabilities::feed::{Action, Batch, MAX_CHANGES, Record};
use muster_vulnerabilities::judge::{judge, together};
use muster_vulnerabilities::products::products;
use muster_vulnerabilities::{Format, patch};
use serde_json::Value;

/// What a record says is the same after it was written and read again.
fn judged(payload: &Value) {
    let said = products(payload);
    let json = serde_json::to_vec(payload).expect("it was read from JSON");
    assert_eq!(products(&serde_json::from_slice(&json).expect("it is no deeper than a parser goes")), said);
    for ((_, name), product) in said.by_name {
        for format in [Format::Dpkg, Format::Rpm] {
            let Some(installed) = format.version(&name).or_else(|| format.version("1:2.0~rc1-1")) else { continue };
            _ = together(format, product.affected.iter().map(|affected| judge(&affected.versions, format, &installed)));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.windows(5).position(|window| window == b"\n===\n");
    let (line, changes) = cut.map_or((bytes, bytes), |at| (&bytes[..at], &bytes[at + 5..]));
    let record = Record::parse(line).ok();
    if let Some(record) = &record {
        judged(&record.payload);
    }
    let Ok(batch) = Batch::parse(0, 100, changes) else { return };
    assert!(batch.changes.len() <= MAX_CHANGES);
    assert!(batch.changes.is_sorted_by(|before, after| before.offset < after.offset));
    let mut payload = record.map(|record| record.payload);
    for change in batch.changes {
        payload = match (change.action, payload) {
            (Action::Create(created), _) => Some(created),
            (Action::Delete, _) => None,
            (Action::Update(operations), Some(old)) => match patch::apply(old, &operations) {
                Ok(new) => Some(new),
                Err(problem) => {
                    assert!(problem.pointer.starts_with("/operations"));
                    return;
                }
            },
            (Action::Update(_), None) => return,
        };
        payload.iter().for_each(judged);
    }
});
