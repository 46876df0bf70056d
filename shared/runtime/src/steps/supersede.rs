//! Step 6, supersede: earlier tasks learn whom this page took from them.

use muster_broker::{Fault, Write};
use muster_core::chain::Page;
use muster_core::fact::Fact;

use super::{Job, tell};

/// Tells each task whose lanes the page replaced or removed.
pub(super) async fn supersede(job: &Job<'_>, page: &Page) -> Result<(), Fault> {
    let facts = page.replaced.iter().map(|(before, numbers)| {
        tell::write(before, &Fact::Superseded { by: job.task.id.clone(), numbers: numbers.clone() })
    });
    let writes: Vec<Write> = facts.collect::<Result<_, _>>()?;
    if writes.is_empty() { Ok(()) } else { job.context.bus.publish(tell::RESULTS, writes).await }
}
