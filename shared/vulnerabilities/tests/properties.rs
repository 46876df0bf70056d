//! Whatever comes from outside is answered: no panic, and what is taken can be stored, found, and taken back.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Cursor;

use common::{batch, cve, line, load};
use muster_vulnerabilities::inventory::{dpkg, os_release, rpm};
use muster_vulnerabilities::products::products;
use muster_vulnerabilities::{Batch, CveId, Format, Inventory, Os, Package, Record};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON, made of what records are made of.
fn value() -> impl Strategy<Value = Value> {
    let text =
        prop::sample::select(vec!["", "0", "*", "1.0-1", "bookworm", "affected", "unknown", "debian", "a", "REJECTED"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    let name = prop::sample::select(vec![
        "containers",
        "cna",
        "adp",
        "affected",
        "product",
        "packageName",
        "platforms",
        "versions",
        "version",
        "status",
        "lessThan",
        "defaultStatus",
        "providerMetadata",
        "shortName",
        "metrics",
        "cvssV3_1",
        "baseScore",
        "cveMetadata",
        "state",
    ]);
    leaf.prop_recursive(6, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..5).prop_map(|members| json!(members)),
        ]
    })
}

/// A record that is right up to where anything stands.
fn payload() -> impl Strategy<Value = Value> {
    (value(), value(), value()).prop_map(|(entry, versions, other)| {
        json!({"containers": {"cna": other, "adp": [
            {"providerMetadata": {"shortName": "debian"}, "affected": [entry, {"product": "a", "versions": versions}]}, other]}})
    })
}

fn pointer() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "/containers",
        "/containers/adp",
        "/containers/adp/0/affected/0",
        "/containers/adp/-",
        "/x",
        "/x/x",
    ])
}

fn operation() -> impl Strategy<Value = Value> {
    prop_oneof![
        (pointer(), value()).prop_map(|(path, value)| json!({"op": "add", "path": path, "value": value})),
        (pointer(), value()).prop_map(|(path, value)| json!({"op": "replace", "path": path, "value": value})),
        (pointer(), pointer()).prop_map(|(from, path)| json!({"op": "copy", "from": from, "path": path})),
        (pointer(), pointer()).prop_map(|(from, path)| json!({"op": "move", "from": from, "path": path})),
        pointer().prop_map(|path| json!({"op": "remove", "path": path})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        _ = Record::parse(&bytes);
        _ = (Batch::parse(0, 10, &bytes), Inventory::unpack(&bytes));
        let text = String::from_utf8_lossy(&bytes);
        _ = (dpkg::status(&text), dpkg::unpacked(&text), rpm::parse(&text), os_release::parse(&text), text.parse::<CveId>());
    }

    #[test]
    fn any_fields(text in "((package|status|version|source|ID|VERSION_ID)[:=][ \"]?[a-z0-9().\\\\\"\t]{0,12}\n|\n|\t| x\n){0,20}") {
        for packages in [dpkg::status(&text), dpkg::unpacked(&text)].into_iter().flatten() {
            prop_assert!(packages.iter().all(|package| !package.version.is_empty()));
        }
        _ = (rpm::parse(&text), os_release::parse(&text));
    }

    /// Stored, found, scanned, changed and deleted; then nothing of it is left.
    #[test]
    fn any_record(payload in payload(), operations in prop::collection::vec(operation(), 0..6)) {
        let (_directory, database) = common::database();
        load(&database, &(line("CVE-2024-0001", 1, &payload) + &line("CVE-2024-0002", 2, &cve("b", "2.0"))), 10);
        let update = json!([{"type": "update", "resource": "CVE-2024-0001", "offset": 11, "version": 2, "operations": operations}]);
        let applied = database.apply(&batch(10, 11, update));
        let now = database.record("CVE-2024-0001").unwrap().unwrap();
        if applied.is_err() {
            prop_assert_eq!((&now.payload, now.offset, database.contents().unwrap().offset), (&payload, 1, 10));
        }
        for (container, product) in products(&now.payload).by_name.keys() {
            prop_assert!(!database.cves_of(container, product).unwrap().is_empty());
        }
        let package = |name: &str| Package { name: name.into(), version: "1.0".into(), arch: "all".into(), source: None, format: Format::Dpkg };
        let os = Os { distribution: "debian".into(), version: "12".into(), codename: None };
        let found = database.match_packages(&os, &[package("a"), package("b")]).unwrap();
        prop_assert!(found.findings.iter().any(|finding| finding.package == "b"));

        let at = database.contents().unwrap().offset;
        let delete = json!([{"type": "delete", "resource": "CVE-2024-0001", "offset": at + 1, "version": 3}]);
        let contents = database.apply(&batch(at, at + 1, delete)).unwrap().contents;
        prop_assert_eq!((contents.cves, contents.unreadable), (1, 0));
        for ((container, product), _) in products(&now.payload).by_name.into_iter().chain(products(&payload).by_name) {
            prop_assert!(database.cves_of(&container, &product).unwrap().iter().all(|cve| cve.to_string() == "CVE-2024-0002"));
        }
    }

    /// A snapshot says the same in any order.
    #[test]
    fn any_order(payloads in prop::collection::vec(payload(), 1..4), seed in any::<u64>()) {
        let lines: Vec<String> = payloads.iter().zip(1..).map(|(payload, n)| line(&format!("CVE-2024-{:04}", n), n, payload)).collect();
        let mut other = lines.clone();
        other.rotate_left(seed as usize % lines.len());
        let os = Os { distribution: "debian".into(), version: "12".into(), codename: None };
        let package = Package { name: "a".into(), version: "1.0".into(), arch: "all".into(), source: None, format: Format::Dpkg };
        let found = [lines, other].map(|lines| {
            let (_directory, database) = common::database();
            let contents = database.load_snapshot(Cursor::new(lines.concat()), 10).unwrap();
            (contents, database.match_packages(&os, std::slice::from_ref(&package)).unwrap())
        });
        prop_assert_eq!(&found[0], &found[1]);
    }
}
