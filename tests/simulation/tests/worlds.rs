//! Worlds by seed: nothing is found in any of them.
//!
//! `MUSTER_SEED=<n>` lives one world and prints what happened in it; `SEEDS=<n>` says how many worlds are lived, and
//! `FIRST=<n>` with which seed they begin.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use muster_simulation::{Settings, live};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Prints a world, and gives what was found in it.
fn show(seed: u64) -> Vec<String> {
    let found = live(Settings { timeline: true, ..Settings::of(seed) }, None).unwrap();
    found.timeline.iter().for_each(|line| println!("{line}"));
    found.violations
}

#[test]
fn nothing_is_found_in_any_world() {
    if let Some(seed) = number("MUSTER_SEED") {
        let violations = show(seed);
        assert!(violations.is_empty(), "in the world {seed}: {violations:#?}");
        return;
    }
    let (first, count) = (number("FIRST").unwrap_or(0), number("SEEDS").unwrap_or(2000));
    let (next, bad) = (AtomicU64::new(first), Mutex::new(BTreeMap::new()));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let violations = live(Settings::of(seed), None).unwrap().violations;
                    if !violations.is_empty() {
                        bad.lock().unwrap().insert(seed, violations);
                    }
                }
            });
        }
    });
    let bad = bad.into_inner().unwrap();
    println!("{count} worlds in {:.1} s, {} of them bad", began.elapsed().as_secs_f64(), bad.len());
    if let Some((seed, _)) = bad.iter().next() {
        show(*seed);
        bad.iter()
            .take(20)
            .for_each(|(seed, violations)| println!("MUSTER_SEED={seed}: {}", violations.join("\n    ")));
        panic!("{} of {count} worlds are bad; see one with MUSTER_SEED={seed}", bad.len());
    }
}

#[test]
fn a_seed_is_one_world() {
    for seed in 0..40 {
        let lived = || live(Settings { timeline: true, ..Settings::of(seed) }, None).unwrap().timeline;
        let (one, other) = (lived(), lived());
        let differs = one.iter().zip(&other).find(|(a, b)| a != b);
        assert!(one == other, "the world {seed} has two courses: {differs:#?}");
    }
}
