//! How an inventory travels, and how much of what was found.
#![allow(clippy::unwrap_used)]

use muster_core::findings::MAX_INVENTORY;
use muster_vulnerabilities::{
    Counts, Finding, Findings, Format, Inventory, MAX_PACKAGES, Os, Package, Severity, Source,
};
use serde_json::{Value, json};

fn package(n: usize) -> Package {
    // Names and versions that are as hard to pack as real ones.
    let hash = n.wrapping_mul(2_654_435_761) % 0xffff_ffff;
    Package {
        name: format!("lib{hash:08x}-dev"),
        version: format!("1:{}.{}.{}-{}+deb12u{}", n % 7, n % 31, hash % 97, n % 5, n % 3),
        arch: "amd64".into(),
        source: Some(Source { name: format!("lib{hash:08x}"), version: None }),
        format: Format::Dpkg,
    }
}

fn inventory(packages: usize) -> Inventory {
    let os = Os { distribution: "debian".into(), version: "12".into(), codename: Some("bookworm".into()) };
    Inventory { os, packages: (0..packages).map(package).collect() }
}

#[test]
fn the_largest_system_fits_into_a_message() {
    let largest = inventory(MAX_PACKAGES);
    let packed = largest.pack().unwrap();
    assert!(packed.len() <= MAX_INVENTORY, "{}", packed.len());
    assert_eq!(Inventory::unpack(&packed).unwrap(), largest);
}

#[test]
fn what_is_none_is_refused() {
    let packed = inventory(3).pack().unwrap();
    let code = |bytes: &[u8]| Inventory::unpack(bytes).unwrap_err().code;
    assert_eq!(code(b""), "schema");
    assert_eq!(code(&packed[..packed.len() - 5]), "schema");
    assert_eq!(code(b"{}"), "schema");
    // A bomb: 64 MiB of blanks in 64 KB.
    let bomb =
        Inventory { os: Os { distribution: " ".repeat(64 * 1024 * 1024), ..Os::default() }, packages: Vec::new() };
    assert_eq!(bomb.pack().unwrap_err().code, "too-large");
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packer, &vec![b' '; 64 * 1024 * 1024]).unwrap();
    let bomb = packer.finish().unwrap();
    assert!(bomb.len() < 100_000);
    assert_eq!(code(&bomb), "too-large");
}

#[test]
fn the_schemas_examples_are_inventories_and_findings() {
    let inventories: Value = serde_json::from_str(include_str!("../../../schemas/inventory.json")).unwrap();
    for example in inventories["examples"].as_array().unwrap() {
        let read: Inventory = serde_json::from_value(example.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), *example);
    }
    let findings: Value = serde_json::from_str(include_str!("../../../schemas/vulnerabilities.json")).unwrap();
    for example in findings["examples"].as_array().unwrap() {
        let read: Findings = serde_json::from_value(example.clone()).unwrap();
        // The gateway adds when it was stored.
        let mut again = serde_json::to_value(&read).unwrap();
        again["at"] = example["at"].clone();
        assert_eq!(again, *example);
    }
}

#[test]
fn the_worst_findings_stay_and_the_others_are_counted() {
    let finding = |n: u64| {
        let cve = format!("CVE-2024-{}", 1000 + n).try_into().unwrap();
        let severity = if n < 2 { Severity::Critical } else { Severity::Low };
        Finding { severity, cve, package: "openssl".into(), version: "3".into(), arch: "amd64".into(), fixed: None }
    };
    let all = Findings {
        counts: Counts { critical: 2, low: 98, ..Counts::default() },
        findings: (0..100).map(finding).collect(),
        ..Findings::default()
    };
    let size = json!(all.findings[0]).to_string().len() + 1;
    assert_eq!(all.clone().within(100 * size + 100), all);
    let cut = all.clone().within(10 * size);
    assert!((5..=10).contains(&cut.findings.len()), "{}", cut.findings.len());
    assert_eq!(cut.findings, all.findings[..cut.findings.len()]);
    assert_eq!((cut.left_out as usize + cut.findings.len(), cut.counts), (100, all.counts));
}
