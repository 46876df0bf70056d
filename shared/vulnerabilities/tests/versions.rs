//! The orders of versions, by tables of cases in files; dpkg's also by dpkg itself, where it is.
#![allow(clippy::unwrap_used)]

use std::cmp::Ordering;
use std::process::Command;

use muster_vulnerabilities::Format;
use proptest::prelude::*;

fn order(format: Format, left: &str, right: &str) -> Option<Ordering> {
    format.version(left)?.order(&format.version(right)?)
}

fn table(format: Format, text: &str) {
    let mut cases = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(none) = line.strip_prefix("! ") {
            assert!(format.version(none).is_none(), "{none:?} is a version");
        } else {
            let (left, expected, right) = match line.split(' ').collect::<Vec<_>>()[..] {
                [left, "<", right] => (left, Ordering::Less, right),
                [left, "=", right] => (left, Ordering::Equal, right),
                _ => panic!("no case: {line}"),
            };
            assert_eq!(order(format, left, right), Some(expected), "{line}");
            assert_eq!(order(format, right, left), Some(expected.reverse()), "{line}, the other way");
            assert_eq!(order(format, left, left), Some(Ordering::Equal), "{left}");
        }
        cases += 1;
    }
    assert!(cases > 50, "only {cases} cases");
}

#[test]
fn dpkg() {
    table(Format::Dpkg, include_str!("../cases/versions/dpkg.txt"));
}

#[test]
fn rpm() {
    table(Format::Rpm, include_str!("../cases/versions/rpm.txt"));
}

#[test]
fn versions_are_bounded() {
    for format in [Format::Dpkg, Format::Rpm] {
        assert!(format.version(&"1".repeat(256)).is_some());
        assert!(format.version(&"1".repeat(257)).is_none());
    }
}

/// What dpkg says; none when it refuses one of the two.
fn by_dpkg(left: &str, right: &str) -> Option<Ordering> {
    let holds = |relation| {
        let output = Command::new("dpkg").args(["--compare-versions", left, relation, right]).output().unwrap();
        (output.status.success(), output.stderr.is_empty())
    };
    match (holds("lt"), holds("eq"), holds("gt")) {
        ((true, true), _, _) => Some(Ordering::Less),
        (_, (true, true), _) => Some(Ordering::Equal),
        (_, _, (true, true)) => Some(Ordering::Greater),
        _ => None,
    }
}

/// A version that is made to go wrong where parts of different kinds meet.
fn odd_version() -> impl Strategy<Value = String> {
    let part =
        prop::sample::select(vec![".", "~", "+", "a", "Z", "rc", "0", "1", "00", "10", "9", "18446744073709551616"]);
    let parts = move |most| prop::collection::vec(part.clone(), 0..most).prop_map(|parts| parts.concat());
    let epoch = prop::sample::select(vec!["", "", "0:", "1:", "12:"]);
    (epoch, parts(5), prop::option::of(parts(4))).prop_map(|(epoch, upstream, revision)| {
        format!("{epoch}1{upstream}{}", revision.map_or(String::new(), |r| format!("-{r}1")))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn dpkg_agrees(left in odd_version(), (at, more) in (any::<prop::sample::Index>(), prop::sample::select(vec!["0", "~", ".", "a", "1", "+", ""]))) {
        if Command::new("dpkg").arg("--version").output().is_err() {
            eprintln!("skipped: dpkg is not here");
            return Ok(());
        }
        let mut right = left.clone();
        right.insert_str(at.index(left.len() + 1), more);
        // Where dpkg only warns, ours may refuse; but whatever both order, they order alike.
        if let (Some(ours), Some(theirs)) = (order(Format::Dpkg, &left, &right), by_dpkg(&left, &right)) {
            prop_assert_eq!(ours, theirs, "{} {}", left, right);
        }
    }

    #[test]
    fn any_text_is_answered(left in ".{0,40}", right in "[0-9a-z.~^+:-]{0,20}") {
        for format in [Format::Dpkg, Format::Rpm] {
            let there = order(format, &left, &right);
            prop_assert_eq!(there.map(Ordering::reverse), order(format, &right, &left));
        }
    }
}
