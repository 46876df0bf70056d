//! Step 6, supersede: earlier tasks learn whom this page took from them.

use muster_broker::{Fault, Write};
use muster_core::chain::Page;
use muster_core::fact::Fact;
use muster_core::task::TaskType;

use super::{Job, tell};

/// Tells each task whose lanes the page replaced or removed by whom its recipients are superseded; or, when the page
/// has deleted them, that they are gone.
pub(super) async fn supersede(job: &Job<'_>, page: &Page) -> Result<(), Fault> {
    let facts = page.replaced.iter().map(|(before, numbers)| {
        let numbers = numbers.clone();
        let fact = match job.task.kind {
            TaskType::AgentDeletion => Fact::Gone { numbers },
            _ => Fact::Superseded { by: job.task.id.clone(), numbers },
        };
        tell::write(before, &fact)
    });
    let writes: Vec<Write> = facts.collect::<Result<_, _>>()?;
    if writes.is_empty() { Ok(()) } else { job.context.bus.publish(tell::RESULTS, writes).await }
}
