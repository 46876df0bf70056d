//! What the documents name exists: files, tests, links, statuses.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};

use muster_core::status::Status;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Whether a file holds a test of this name: a function under an attribute that makes it one.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().enumerate().any(|(at, line)| {
        let attributes =
            lines[..at].iter().rev().take_while(|above| above.starts_with("#[") || above.starts_with("//"));
        declared(line) && attributes.into_iter().any(|above| *above == "#[test]" || above.starts_with("#[tokio::test"))
    })
}

#[test]
fn requirements_name_files_and_tests_that_exist() {
    let text = read("docs/requirements.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| not yet |"));
    let (mut count, mut tests) = (0, 0);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [requirement, places, shown, missing] = cells.as_slice() else { panic!("not four cells: {row}") };
        count += 1;
        for path in quoted(places) {
            assert!(root().join(path).exists(), "{requirement}: there is no {path}");
        }
        for test in quoted(shown) {
            tests += 1;
            let Some((path, name)) = test.split_once("::") else {
                assert!(root().join(test).exists(), "{requirement}: there is no {test}");
                continue;
            };
            assert!(is_test(&read(path), name), "{requirement}: there is no test {test}");
        }
        assert!(!shown.is_empty() || !missing.is_empty(), "{requirement}: neither a test nor why there is none");
        assert!(!places.is_empty() || !missing.is_empty(), "{requirement}: neither a place nor why there is none");
    }
    assert!(count > 14 && tests > count, "{count} rows with {tests} tests: the tables were not read");
}

#[test]
fn links_lead_somewhere() {
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "docs/requirements.md"] {
        let folder = root().join(document).parent().unwrap().to_owned();
        let text = read(document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            let path = target.split('#').next().unwrap();
            assert!(target.contains("://") || folder.join(path).exists(), "{document} links to {target}");
        }
    }
}

#[test]
fn the_readme_explains_every_status() {
    let text = read("README.md");
    for status in Status::ALL {
        assert!(text.contains(&format!("\n| `{}` |", status.name())), "{} is not explained", status.name());
    }
}

#[test]
fn a_name_in_a_comment_is_no_test() {
    let text =
        "// fn gone()\n#[test]\nfn here() {}\n\nfn helper() {}\n#[tokio::test(flavor = \"x\")]\nasync fn there() {}";
    let found = ["gone", "here", "helper", "there", "her"].map(|name| is_test(text, name));
    assert_eq!(found, [false, true, false, true, false]);
}
