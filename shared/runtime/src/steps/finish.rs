//! The end of a saga: what changes after the last page.

use muster_broker::{Fault, Txn};
use muster_core::chain::{Finished, Stored, key};
use muster_core::plan::Plan;
use muster_core::task::Task;

use super::{Job, changes};

/// Makes the last changes once.
pub(super) async fn finish(job: &Job<'_>, plan: &Plan) -> Result<(), Fault> {
    loop {
        let mut txn = job.txn();
        if !stage(plan, job.task, job.at_delivery(), &mut txn).await? {
            return Ok(());
        }
        match txn.commit().await {
            Err(Fault::Conflict) => {}
            done => return done.map(|_| ()),
        }
    }
}

/// Adds the last changes to a batch; false when there are none, or none to make any more.
pub(super) async fn stage(plan: &Plan, task: &Task<impl Sized>, delivery: u64, txn: &mut Txn) -> Result<bool, Fault> {
    let name = key::finish(&task.id);
    if plan.finish.is_empty() || txn.fetch::<Stored<Finished>>(&name).await?.is_some() {
        return Ok(false);
    }
    if changes::apply(&plan.finish, task, txn).await?.is_err() {
        return Ok(false);
    }
    txn.put_json(&name, &Stored::new(delivery, Finished {}))?;
    Ok(true)
}
