//! Step 2, plan: what is to be done, stored with the changes it makes in one batch.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_broker::{Fault, Txn, Write, kv};
use muster_core::chain::{Paged, Planned, Stored, key};
use muster_core::fleet::Fleet;
use muster_core::names::{digest, escape};
use muster_core::numbers::Numbers;
use muster_core::plan::{Change, Plan};
use muster_core::problem::{Problem, Refusal};
use muster_core::record::{Group, agent_number};
use muster_core::target::Target;

use super::chain::Fresh;
use super::changes::{group_key, record_key};
use super::{Chain, Job, changes, decide, freeze, reads, resolve, retry};

/// A task that names at most this many agents is planned, frozen and decided in one batch.
const SMALL: usize = 64;

/// Decides about the whole, or takes the decision that another delivery has stored meanwhile.
pub(super) async fn plan(job: &Job<'_>) -> Result<(Planned, Chain), Fault> {
    for attempt in 1.. {
        let mut txn = job.txn();
        let planned = stage(job, &mut txn).await?;
        store(job, &planned).await?;
        txn.put_json(&key::plan(&job.task.id), &Stored::new(job.at_delivery(), planned.clone()))?;
        let mut chain = Chain { plan: Some(planned.clone()), delivery: job.delivery, ..Chain::default() };
        if let Planned::Plan(plan) = &planned
            && let Target::Agents(ids) | Target::Servers(ids) = &plan.select
            && (1..=SMALL).contains(&ids.len())
        {
            whole(job, plan, &mut txn, &mut chain).await?;
        }
        match txn.commit().await {
            Ok(_) => {
                job.progress.decided().await;
                return Ok((planned, chain));
            }
            Err(Fault::Conflict) => {
                // The index may hold this very plan's effect, and planning again would see "nothing to do" or "taken".
                let found = Chain::load(job.context, job.fleet(), &job.task.id).await?;
                if let Some(planned) = found.plan.clone() {
                    return Ok((planned, found));
                }
                job.context.clock.sleep(Duration::from_millis(5 * attempt.min(20))).await;
            }
            Err(fault) => return Err(fault),
        }
    }
    Err(Fault::Conflict)
}

/// Adds the other decisions of a small task to the plan's batch.
async fn whole(job: &Job<'_>, plan: &Plan, txn: &mut Txn, chain: &mut Chain) -> Result<(), Fault> {
    // Those that are named; no look is needed.
    let recipients = resolve::resolve(job.context, job.fleet(), &plan.select).await?;
    freeze::stage(job, &recipients, txn)?;
    let (page, commands) = decide::stage(job, plan, &recipients, 0, None, SMALL, txn).await?;
    chain.pages.push((0, Paged::Page(page)));
    chain.fresh = Some(Fresh { recipients, commands });
    Ok(())
}

/// Decides about the whole, with the changes in the batch.
pub(super) async fn stage(job: &Job<'_>, txn: &mut Txn) -> Result<Planned, Fault> {
    let bound = match &job.bound {
        Ok(bound) => *bound,
        Err(errors) => return Ok(Planned::Refused { errors: errors.clone() }),
    };
    let problems = job.task.target.as_ref().map(|t| t.problems("/target")).unwrap_or_default();
    if !problems.is_empty() {
        return Ok(Planned::Refused { errors: problems });
    }
    if let Some(retry) = &job.task.retry {
        return retry::plan(job, retry).await;
    }
    if let Some(Target::Agents(ids)) = &job.task.target
        && ids.len() <= SMALL
    {
        // What is looked at later anyway, in the same request.
        let records = ids.iter().filter_map(|id| agent_number(id)).map(record_key);
        txn.load(records.chain(bound.reads().iter().filter_map(reads::stored_at))).await?;
    }
    let reads = reads::read(job.context, bound, txn).await?;
    let mut plan = match bound.plan(&reads) {
        Ok(plan) => plan,
        Err(errors) => return Ok(Planned::Refused { errors }),
    };
    let unknown = unknown(job, &plan, txn).await?;
    if !unknown.is_empty() {
        return Ok(Planned::Refused { errors: unknown });
    }
    if let Err(newer) = changes::apply(&plan.changes, job.task, txn).await? {
        plan.superseded_by = Some(newer);
        plan.changes.clear();
        plan.finish.clear();
        plan.on_stop.clear();
        return Ok(Planned::Plan(Box::new(plan)));
    }
    Ok(Planned::Plan(Box::new(plan)))
}

/// Stores the contents that a plan points to: before its batch. Stored again, a content is the same under the same key.
async fn store(job: &Job<'_>, planned: &Planned) -> Result<(), Fault> {
    let Planned::Plan(plan) = planned else { return Ok(()) };
    for body in &plan.bodies {
        let key = format!("{}.{}", escape(&body.name), digest(body.content.as_bytes()));
        let write = Write::new(kv::subject(&body.bucket, &key), body.content.clone());
        job.context.bus.publish(&kv::stream(&body.bucket), vec![write]).await?;
    }
    Ok(())
}

/// The agents and groups of the selection that do not exist, and what cannot be addressed at all.
async fn unknown(job: &Job<'_>, plan: &Plan, txn: &mut Txn) -> Result<Refusal, Fault> {
    /// More are not named one by one.
    const NAMED: usize = 20;
    let changed: BTreeSet<&str> = plan.changes.iter().filter_map(Change::group).collect();
    let mut problems = Vec::new();
    for (pointer, leaf) in plan.select.leaves("/target") {
        let missing: Vec<(usize, &String, &str, &str)> = match leaf {
            leaf if !concerns(job.fleet(), leaf) => {
                let (kind, them, others) = match job.fleet() {
                    Fleet::Agents => (job.task.kind, "agents", "server nodes"),
                    Fleet::Nodes => (job.task.kind, "server nodes", "agents"),
                };
                let message = format!("a task of type {kind} concerns {them}, not {others}");
                problems.push(Problem::new("wrong-target", pointer, message));
                continue;
            }
            Target::Agents(ids) | Target::Servers(ids) => {
                let enrolled = enrolled(job, ids, txn).await?;
                let there = |id: &String| agent_number(id).is_some_and(|n| enrolled.contains(n));
                let (what, list) = match job.fleet() {
                    Fleet::Agents => ("agent", "muster agent list"),
                    Fleet::Nodes => ("node", "muster node list"),
                };
                ids.iter().enumerate().filter(|(_, id)| !there(id)).map(|(i, id)| (i, id, what, list)).collect()
            }
            Target::Groups(names) => {
                let keys: Vec<String> = names.iter().map(|n| group_key(n)).collect();
                txn.load(keys.clone()).await?;
                let mut missing = Vec::new();
                for (i, (name, key)) in names.iter().zip(&keys).enumerate() {
                    if changed.contains(name.as_str()) {
                        continue;
                    }
                    // A group that is deleted after this look has no members when the recipients are read.
                    txn.unchecked(key);
                    if !txn.get::<Group>(key)?.is_some_and(|g| g.is_alive()) {
                        missing.push((i, name, "group", "muster group list"));
                    }
                }
                missing
            }
            _ => continue,
        };
        let one = matches!(leaf, Target::Agents(ids) | Target::Servers(ids) | Target::Groups(ids) if ids.len() == 1);
        let total = missing.len();
        for (i, name, what, list) in missing.into_iter().take(NAMED) {
            let pointer = if one { format!("{pointer}/id") } else { format!("{pointer}/id/{i}") };
            let problem = Problem::new(&format!("unknown-{what}"), pointer, format!("there is no {what} '{name}'"));
            problems.push(problem.hint(format!("see: {list}")));
        }
        if total > NAMED {
            problems.push(Problem::new("unknown", pointer, format!("and {} more that do not exist", total - NAMED)));
        }
    }
    Ok(problems)
}

/// Those of the ids that were ever enrolled. Of a few the records say it, which the decisions about them look at too.
async fn enrolled(job: &Job<'_>, ids: &[String], txn: &mut Txn) -> Result<Numbers, Fault> {
    if ids.len() > SMALL {
        return resolve::enrolled_among(job.context, job.fleet(), ids).await;
    }
    let numbers: Vec<u32> = ids.iter().filter_map(|id| agent_number(id)).collect();
    txn.load(numbers.iter().map(|number| record_key(*number))).await?;
    Ok(numbers.into_iter().filter(|number| txn.bytes(&record_key(*number)).is_some()).collect())
}

/// Whether a leaf can mean recipients of this kind.
fn concerns(fleet: Fleet, leaf: &Target) -> bool {
    match leaf {
        Target::Servers(_) => fleet == Fleet::Nodes,
        Target::Agents(_) | Target::Groups(_) | Target::All | Target::Query(_) => fleet == Fleet::Agents,
        Target::Failures(..) | Target::Any(_) | Target::Without(..) => true,
    }
}
