//! A short run of what `make chaos` does for long.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use muster_chaos::{Options, run};

/// Always the same, so that a failure is not a surprise of chance; `make chaos` has others.
const SEED: u64 = 20_261_126;

#[tokio::test(flavor = "multi_thread")]
async fn killing_changes_nothing() -> Result<()> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos");
    let options = Options {
        seed: SEED,
        rounds: 1,
        agents: 2_000,
        within: Duration::ZERO,
        load: Duration::from_secs(20),
        tasks: 24,
        deadlines: false,
        out,
    };
    let report = run(&options).await?;
    let round = &report.rounds[0];
    println!("{}", report.summary());
    assert!(report.is_clean(), "{}\n{}", round.timeline.join("\n"), report.summary());
    // It is no proof when nothing happened.
    let (kills, stops) = round.hits();
    assert!(kills >= 5 && stops >= 2, "{:?}", round.faults);
    assert!(round.agents >= 2_003 && round.edges > 0, "{} agents, {} programs run", round.agents, round.edges);
    assert!(round.statuses["success"] > 2_000, "{:?}", round.statuses);
    Ok(())
}
