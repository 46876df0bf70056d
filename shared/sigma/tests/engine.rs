//! Swaps while events are judged.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use muster_core::names::digest;
use muster_sigma::{Engine, Event, Ruleset, Verdict};
use serde_json::{Value, json};

const SWAPS: u64 = 3_000;
const JUDGES: usize = 4;

/// A body whose rules bear the name of the kind and match `{"a":"x"}`; the kinds differ in the number of rules.
fn body(kind: u64) -> Vec<u8> {
    let rule = |n: u64| {
        let title = format!("{kind}/{n}");
        json!({ "title": title, "logsource": { "product": "linux" }, "detection": { "s": { "a": "x" }, "condition": "s" } })
    };
    let files: BTreeMap<String, String> = (0..=kind).map(|n| (format!("{n}.yml"), rule(n).to_string())).collect();
    serde_json::to_vec(&files).unwrap()
}

fn event(value: Value) -> Event {
    Event::new(value).unwrap()
}

/// The verdict is that of the whole ruleset which was given its revision, and of no other.
fn is_whole(verdict: &Verdict, kinds: &[(Vec<u8>, String)]) {
    let kind = verdict.revision % 3;
    let titles: Vec<_> = verdict.matches.iter().map(|found| found.title.clone()).collect();
    assert_eq!(titles, (0..=kind).map(|n| format!("{kind}/{n}")).collect::<Vec<_>>(), "at {}", verdict.revision);
    assert_eq!(verdict.digest, kinds[usize::try_from(kind).unwrap()].1);
}

#[test]
fn each_event_is_judged_by_one_whole_ruleset_whatever_is_swapped() {
    let kinds: Vec<_> = (0..3).map(|kind| (body(kind), digest(&body(kind)))).collect();
    let engine = Engine::new(0, Ruleset::load(&kinds[0].0).unwrap());
    let swapping = AtomicBool::new(true);
    let judge = || {
        let (hit, miss) = (event(json!({ "a": "x" })), event(json!({ "a": "y" })));
        let (mut judged, mut last) = (BTreeMap::<u64, u64>::new(), 0);
        while swapping.load(Ordering::Relaxed) {
            let verdict = engine.judge(&hit);
            is_whole(&verdict, &kinds);
            assert!(verdict.revision >= last, "a ruleset that was replaced does not come back");
            last = verdict.revision;
            *judged.entry(last).or_default() += 1;
            let none = engine.judge(&miss);
            assert_eq!(none.matches, []);
            *judged.entry(none.revision).or_default() += 1;
            last = none.revision;
        }
        judged
    };
    let swap = || {
        for revision in 1..=SWAPS {
            let kind = usize::try_from(revision % 3).unwrap();
            let counts = engine.replace(revision, &kinds[kind].0).unwrap();
            assert_eq!((counts.revision, counts.judged, counts.rules), (revision, 0, revision % 3 + 1));
            // What is bad takes no effect at any moment.
            assert!(engine.replace(revision + 1_000_000, br#"{"a.yml":"title: ["}"#).is_err());
            // Now and then until something was judged in between.
            let judged = engine.judged();
            for _ in 0..if revision % 50 == 0 { 10_000_000 } else { 0 } {
                if engine.judged() > judged {
                    break;
                }
                thread::yield_now();
            }
        }
        swapping.store(false, Ordering::Relaxed);
    };
    let judged = thread::scope(|scope| {
        let judges: Vec<_> = (0..JUDGES).map(|_| scope.spawn(judge)).collect();
        scope.spawn(swap);
        judges.into_iter().map(|judge| judge.join().unwrap()).collect::<Vec<_>>()
    });
    let mut by_revision = BTreeMap::<u64, u64>::new();
    for (revision, count) in judged.into_iter().flatten() {
        *by_revision.entry(revision).or_default() += count;
    }
    assert!(by_revision.len() > 10, "judges and swaps ran side by side: {}", by_revision.len());
    assert_eq!(engine.judged(), by_revision.values().sum::<u64>(), "none is lost");
    let counts = engine.counts();
    assert_eq!(counts.iter().map(|c| c.revision).collect::<Vec<_>>(), (SWAPS - 15..=SWAPS).rev().collect::<Vec<_>>());
    for counts in counts {
        assert_eq!(counts.judged, by_revision.get(&counts.revision).copied().unwrap_or(0));
        assert!(counts.matched <= counts.judged);
    }
}

#[test]
fn a_bad_ruleset_leaves_the_old_one_in_force() {
    let engine = Engine::default();
    let hit = event(json!({ "a": "x" }));
    assert_eq!(engine.judge(&hit), Verdict { revision: 0, digest: String::new(), matches: Vec::new() });
    engine.replace(7, &body(0)).unwrap();
    let mut files: BTreeMap<String, String> = serde_json::from_slice(&body(2)).unwrap();
    files.insert("web/bad.yml".into(), "title: Bad\nlogsource: {product: linux}\n".into());
    let problems = engine.replace(8, &serde_json::to_vec(&files).unwrap()).unwrap_err();
    assert_eq!(problems.iter().map(|p| p.pointer.as_str()).collect::<Vec<_>>(), ["/web~1bad.yml"]);
    let verdict = engine.judge(&hit);
    assert_eq!((verdict.revision, verdict.matches.len()), (7, 1));
    let counts: Vec<_> = engine.counts().iter().map(|c| (c.revision, c.judged, c.matched)).collect();
    assert_eq!(counts, [(7, 1, 1), (0, 1, 0)]);

    engine.replace(9, b"{}").unwrap();
    assert_eq!(engine.judge(&hit).matches, []);
    assert_eq!(engine.judged(), 3);
}

#[test]
fn a_verdict_is_json_for_people() {
    let engine = Engine::default();
    engine.replace(3, &body(0)).unwrap();
    let verdict = engine.judge(&event(json!({ "a": "x" })));
    let json = serde_json::to_value(&verdict).unwrap();
    let expected =
        json!({ "revision": 3, "digest": digest(&body(0)), "matches": [{ "title": "0/0", "file": "0.yml" }] });
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_value::<Verdict>(json).unwrap(), verdict);
}
