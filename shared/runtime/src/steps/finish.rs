//! The end of a saga: what changes after the last page.

use muster_broker::Fault;
use muster_core::chain::{Finished, Stored, key};
use muster_core::plan::Plan;

use super::{Job, changes};

/// Makes the last changes once.
pub(super) async fn finish(job: &Job<'_>, plan: &Plan) -> Result<(), Fault> {
    if plan.finish.is_empty() {
        return Ok(());
    }
    loop {
        let mut txn = job.txn();
        let name = key::finish(&job.task.id);
        if txn.fetch::<Stored<Finished>>(&name).await?.is_some() {
            return Ok(());
        }
        if changes::apply(&plan.finish, job.task, &mut txn).await?.is_err() {
            return Ok(());
        }
        txn.put_json(&name, &Stored::new(job.at_delivery(), Finished {}))?;
        match txn.commit().await {
            Err(Fault::Conflict) => {}
            done => return done.map(|_| ()),
        }
    }
}
