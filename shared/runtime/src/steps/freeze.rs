//! Step 3, freeze: the recipients are computed once and stored with a create-only head.

use muster_broker::{Fault, Txn, kv};
use muster_core::chain::{Frozen, Stored, key};
use muster_core::numbers::Numbers;
use muster_core::plan::Plan;

use super::{Chain, Job, resolve, tell};

/// The recipients; none when the task was stopped before they were known.
pub(super) async fn freeze(job: &Job<'_>, plan: &Plan, chain: &Chain) -> Result<Option<Numbers>, Fault> {
    let id = &job.task.id;
    if let Some(fresh) = &chain.fresh {
        return Ok(Some(fresh.recipients.clone()));
    }
    match &chain.recipients {
        Some(Frozen::Stop(_)) => return Ok(None),
        Some(Frozen::Recipients { containers, .. }) => {
            let recipients = stored(job, containers).await?;
            if chain.pages.is_empty() && !recipients.is_empty() {
                tell::frozen(job).await?;
            }
            return Ok(Some(recipients));
        }
        None => {}
    }
    let recipients = resolve::resolve(job.context, job.fleet(), &plan.select).await?;
    let mut txn = job.txn();
    stage(job, &recipients, &mut txn)?;
    match txn.commit().await {
        Ok(_) => job.progress.decided().await,
        Err(Fault::Conflict) => {
            let found = super::chain::stored::<Frozen>(job.context, job.fleet(), &key::recipients(id)).await?;
            return match found.map(|stored| stored.decision) {
                Some(Frozen::Recipients { containers, .. }) => stored(job, &containers).await.map(Some),
                Some(Frozen::Stop(_)) => Ok(None),
                None => Err(Fault::Conflict),
            };
        }
        Err(fault) => return Err(fault),
    }
    // With nobody to reach it would be the end, and a saga's last change is still to be made.
    if !recipients.is_empty() {
        tell::frozen(job).await?;
    }
    Ok(Some(recipients))
}

/// Adds the recipients and their head to a batch.
pub(super) fn stage(job: &Job<'_>, recipients: &Numbers, txn: &mut Txn) -> Result<(), Fault> {
    let parts = recipients.split();
    let containers = parts.iter().map(|(c, _)| *c).collect();
    let decision = Frozen::Recipients { count: recipients.len(), containers };
    txn.put_json(&key::recipients(&job.task.id), &Stored::new(job.at_delivery(), decision))?;
    for (container, part) in parts {
        txn.put(&key::container(&job.task.id, container), part.encode());
    }
    Ok(())
}

async fn stored(job: &Job<'_>, containers: &[u16]) -> Result<Numbers, Fault> {
    let bucket = job.fleet().bucket();
    let subjects: Vec<String> =
        containers.iter().map(|c| kv::subject(bucket, &key::container(&job.task.id, *c))).collect();
    let found = resolve::sets(job.context, bucket, &subjects).await?;
    if found.len() < subjects.len() {
        // Head and containers lie in one batch: what is missing is not missing, this replica is behind.
        return Err(Fault::Unavailable(format!("recipients of {} are not all there yet", job.task.id)));
    }
    Ok(found.into_values().fold(Numbers::new(), |mut all, (_, part)| {
        all.union_with(&part);
        all
    }))
}
