//! The simulation bites: with any one protecting rule switched off it finds what the rule protects from.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use muster_simulation::{Sabotage, Settings, live};

/// Within so many worlds.
const WORLDS: u64 = 1000;

/// The first world in which something is found.
fn hunt(sabotage: Sabotage) -> Option<(u64, String)> {
    (0..WORLDS).find_map(|seed| {
        let found = live(Settings::of(seed), Some(sabotage)).unwrap();
        found.violations.into_iter().next().map(|violation| (seed, violation))
    })
}

#[test]
fn each_rule_is_needed() {
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                while let Some(sabotage) = Sabotage::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match hunt(*sabotage) {
                        Some((seed, violation)) => println!("without {sabotage:?}: seed {seed}: {violation:.160}"),
                        None => missed.lock().unwrap().push(format!("{sabotage:?}")),
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "in {WORLDS} worlds nothing is found without {missed:?}");
}
