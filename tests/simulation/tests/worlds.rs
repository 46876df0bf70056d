//! Worlds by seed.
#![allow(clippy::unwrap_used)]

use muster_simulation::{Settings, live};

#[test]
fn one() {
    let seed = std::env::var("MUSTER_SEED").map_or(1, |text| text.parse().unwrap());
    let found = live(Settings { timeline: true, ..Settings::of(seed) }, None).unwrap();
    for line in &found.timeline {
        println!("{line}");
    }
    assert!(found.violations.is_empty(), "{:#?}", found.violations);
}
