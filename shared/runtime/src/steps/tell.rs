//! Step 7, tell: the collector learns from `facts.<task>` what was decided.

use muster_broker::{Fault, Write, encode};
use muster_core::chain::Planned;
use muster_core::fact::Fact;
use muster_telemetry::trace::Origin;

use super::{Context, Job};

/// The stream of reports and facts.
pub const RESULTS: &str = "RESULTS";

/// Tells a fact about a task. Telling it twice does no harm.
///
/// # Errors
/// [`Fault::Unavailable`], [`Fault::Full`].
pub async fn fact(context: &Context, task: &str, fact: &Fact) -> Result<(), Fault> {
    context.bus.publish(RESULTS, vec![write(task, fact)?]).await
}

/// The message that tells a fact; it carries the current trace.
pub(super) fn write(task: &str, fact: &Fact) -> Result<Write, Fault> {
    Ok(Write::new(format!("facts.{task}"), encode(fact)?).origin(&Origin::current()))
}

/// Tells that a task ended with its plan.
pub(super) async fn planned(job: &Job<'_>, planned: &Planned) -> Result<(), Fault> {
    let told = match planned.clone() {
        Planned::Refused { errors } => Fact::Refused { errors },
        Planned::Nothing { reason } => Fact::Nothing { reason },
        Planned::Plan(_) | Planned::Stop(_) => return Ok(()),
    };
    fact(job.context, &job.task.id, &told).await
}

pub(super) async fn frozen(job: &Job<'_>) -> Result<(), Fault> {
    fact(job.context, &job.task.id, &Fact::Frozen).await
}

pub(super) async fn page(job: &Job<'_>, n: u32) -> Result<(), Fault> {
    fact(job.context, &job.task.id, &Fact::Page { n }).await
}
