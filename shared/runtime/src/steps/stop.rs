//! Stop: cancel, park, restore. To stop a task is to create its next decision first; it works whether or not the
//! task's function runs.

use muster_broker::{Fault, Txn};
use muster_core::chain::{Frozen, Paged, Planned, Stored, key};
use muster_core::fact::Fact;
use muster_core::fleet::Fleet;
use muster_core::plan::Plan;
use muster_core::status::State;
use muster_core::summary::{Stop, Summary};
use muster_core::task::Task;

use super::admit::summary;
use super::{Chain, Context, changes, finish, tell};

/// What a stop came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopOutcome {
    /// No index change and no hand-over of an edge command begins any more.
    Stopped,
    /// The task had ended, or its plan had ended it.
    Ended(State),
    /// There is no such task.
    Unknown,
}

/// Stops a task. Returns when the stop is a decision of its chain and has been told.
///
/// # Errors
/// [`Fault::Unavailable`]: it may or may not be stopped; call again.
pub async fn stop(context: &Context, id: &str, reason: &Stop) -> Result<StopOutcome, Fault> {
    loop {
        let Some(summary) = summary(context, id).await? else { return Ok(StopOutcome::Unknown) };
        if summary.state.is_end() {
            return Ok(StopOutcome::Ended(summary.state));
        }
        let fleet = summary.fleet();
        let chain = Chain::load(context, fleet, id).await?;
        if let Some(Planned::Refused { .. }) = chain.plan {
            return Ok(StopOutcome::Ended(State::Rejected));
        }
        if let Some(Planned::Nothing { .. }) = chain.plan {
            return Ok(StopOutcome::Ended(State::Succeeded));
        }
        let mut txn = Txn::new(&context.bus, fleet.bucket());
        if txn.fetch::<Stored<Stop>>(&key::stop(id)).await?.is_some()
            && (chain.stopped().is_some() || chain.is_decided())
        {
            tell_from_chain(context, fleet, id).await?;
            return Ok(StopOutcome::Stopped);
        }
        txn.put_json(&key::stop(id), &Stored::new(chain.delivery, reason.clone()))?;
        next_decision(&chain, &summary, reason, &mut txn).await?;
        match txn.commit().await {
            Ok(_) => {
                tell_from_chain(context, fleet, id).await?;
                return Ok(StopOutcome::Stopped);
            }
            Err(Fault::Conflict) => {}
            Err(fault) => return Err(fault),
        }
    }
}

/// Creates the first missing decision as "stop", with the changes that the plan names for this case. Once the last
/// page is decided nothing is missing and what was decided goes on; a saga's last change is made here, because the task
/// may end before its function comes to it.
async fn next_decision(chain: &Chain, summary: &Summary, reason: &Stop, txn: &mut Txn) -> Result<(), Fault> {
    let id = &summary.id;
    let Some(Planned::Plan(plan)) = &chain.plan else {
        return txn.put_json(&key::plan(id), &Stored::new(chain.delivery, Planned::Stop(reason.clone())));
    };
    if chain.recipients.is_none() {
        txn.put_json(&key::recipients(id), &Stored::new(chain.delivery, Frozen::Stop(reason.clone())))?;
    } else if !chain.is_decided() {
        let n = chain.pages.last().map_or(0, |(n, _)| n + 1);
        txn.put_json(&key::page(id, n), &Stored::new(chain.delivery, Paged::Stop(reason.clone())))?;
    } else {
        return finish::stage(plan, &by(summary), chain.delivery, txn).await.map(drop);
    }
    undo(plan, summary, txn).await
}

async fn undo(plan: &Plan, summary: &Summary, txn: &mut Txn) -> Result<(), Fault> {
    let by = by(summary);
    for change in &plan.on_stop {
        // What a newer task has changed since is that task's.
        let _ = changes::apply(std::slice::from_ref(change), &by, txn).await?;
    }
    Ok(())
}

/// The task as far as a change looks at it: who makes it and in which order.
fn by(summary: &Summary) -> Task<()> {
    Task {
        id: summary.id.clone(),
        kind: summary.task_type().unwrap_or(muster_core::task::TaskType::GroupAssignment),
        order: summary.order,
        target: None,
        args: (),
        source: None,
        user: None,
        timeout: std::time::Duration::ZERO,
        published: summary.created,
        deliver_until: summary.deliver_until,
        retry: None,
    }
}

/// Tells the stop that stands in a task's chain, if one does: after a crash between the stop and its telling.
///
/// # Errors
/// [`Fault::Unavailable`].
pub async fn tell_from_chain(context: &Context, fleet: Fleet, id: &str) -> Result<(), Fault> {
    let Some(reason) = super::chain::stored::<Stop>(context, fleet, &key::stop(id)).await? else { return Ok(()) };
    let chain = Chain::load(context, fleet, id).await?;
    let edge = matches!(&chain.plan, Some(Planned::Plan(plan)) if plan.lane.is_none());
    tell_stop(context, id, reason.decision, chain.decided_upto(), edge).await
}

/// Tells a stop.
///
/// # Errors
/// [`Fault::Unavailable`].
pub async fn tell_stop(context: &Context, id: &str, stop: Stop, after: Option<u32>, edge: bool) -> Result<(), Fault> {
    tell::fact(context, id, &Fact::Stopped { stop, after, edge }).await
}
