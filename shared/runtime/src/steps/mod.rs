//! The way of a task through its function: seven steps, each a file, in the order of DESIGN section 5.
//!
//! Every decision (plan, recipients, page, finish) is created once, in one batch with the changes it makes. What
//! follows from a decision is repeated until it is done, and a repeat is refused or merges to the same. So any copy
//! may die anywhere, and any two copies may work on the same task.

mod admit;
mod chain;
mod changes;
mod decide;
mod finish;
mod freeze;
mod members;
mod plan;
mod publish;
mod reads;
mod rehearse;
mod resolve;
mod retry;
mod stop;
mod supersede;
mod tell;

use std::sync::Arc;

use async_trait::async_trait;
use muster_broker::{Bus, Clock, Fault, Txn};
use muster_core::chain::{Paged, Planned};
use muster_core::fleet::Fleet;
use muster_core::function::Bound;
use muster_core::message::Command;
use muster_core::plan::Plan;
use muster_core::task::Task;
use muster_telemetry::metrics;
use muster_telemetry::trace::step;

pub use admit::{Admission, Arrival, admit};
pub use chain::{AGENTS, Chain};
pub use rehearse::{Rehearsal, rehearse};
pub use resolve::partition;
use stop::tell_stop;
pub use stop::{StopOutcome, stop, tell_from_chain};
pub use tell::fact;

/// What the steps need from their surroundings.
#[derive(Clone)]
pub struct Context {
    /// The streams and buckets.
    pub bus: Bus,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Is told about every decision, so that the message's time to redelivery starts anew.
#[async_trait]
pub trait Progress: Send + Sync {
    /// A decision was made.
    async fn decided(&self);

    /// The newest delivery of the message that is known here: it may have come again while it is worked on.
    fn newest(&self) -> u64 {
        0
    }
}

/// A task in the hands of its function.
pub struct Job<'a> {
    /// The surroundings.
    pub context: &'a Context,
    /// The task.
    pub task: &'a Task,
    /// The task bound to its function; or the refusal, when its form is wrong.
    pub bound: Result<&'a dyn Bound, muster_core::problem::Refusal>,
    /// How often its message was delivered.
    pub delivery: u64,
    /// Whom to tell about decisions.
    pub progress: &'a dyn Progress,
}

impl Job<'_> {
    /// Who the recipients are.
    fn fleet(&self) -> Fleet {
        self.task.kind.fleet()
    }

    /// The delivery that a decision of now is counted at.
    fn at_delivery(&self) -> u64 {
        self.delivery.max(self.progress.newest())
    }

    /// A decision over the bucket of the task's chain.
    fn txn(&self) -> Txn {
        Txn::new(&self.context.bus, self.fleet().bucket())
    }
}

/// Carries a task from where its chain stands to its end: steps 2 to 7. Step 1 is [`admit`].
///
/// # Errors
/// Any fault: let the message be delivered again, and the chain goes on from where it stands.
pub async fn advance(job: &Job<'_>, chain: Chain) -> Result<(), Fault> {
    // 2 Plan. A small task is frozen and decided in the same batch.
    let (planned, chain) = match chain.plan {
        Some(ref planned) => (planned.clone(), chain),
        None => step("plan", plan::plan(job)).await?,
    };
    let plan = match planned {
        Planned::Plan(plan) => *plan,
        Planned::Refused { .. } | Planned::Nothing { .. } => return tell::planned(job, &planned).await,
        Planned::Stop(reason) => return tell_stop(job.context, &job.task.id, reason, None, false).await,
    };
    // 3 Freeze.
    let Some(recipients) = step("freeze", freeze::freeze(job, &plan, &chain)).await? else {
        return stop::tell_from_chain(job.context, job.fleet(), &job.task.id).await;
    };
    // 4 Decide, and beside it what follows from the page before: 5 publish, 6 supersede, 7 tell.
    let mut pages = decide::Pages::resume(job, &plan, &recipients, chain);
    let mut page = step("decide", pages.next()).await?;
    while let Some((n, decision)) = page {
        let follow = follow(job, &plan, recipients.len(), n, decision);
        let (followed, next) = futures::join!(follow, step("decide", pages.next()));
        followed?;
        page = next?;
    }
    Ok(())
}

/// What follows from a page.
async fn follow(job: &Job<'_>, plan: &Plan, recipients: u64, n: u32, decided: Decided) -> Result<(), Fault> {
    match decided.page {
        Paged::Stop(_) => stop::tell_from_chain(job.context, job.fleet(), &job.task.id).await,
        Paged::Page(page) => {
            publish::publish(job, plan, recipients, &page, decided.commands).await?;
            supersede::supersede(job, &page).await?;
            if page.last {
                // Before the last page is told: the task ends with that, and whoever comes later finds it ended.
                finish::finish(job, plan).await?;
                metrics::decided(job.task.kind.name(), job.context.clock.now().since(job.task.published));
            }
            tell::page(job, n).await
        }
    }
}

/// A page's decision, with its commands when this copy has just made it.
pub struct Decided {
    page: Paged,
    commands: Option<Vec<Command>>,
}
