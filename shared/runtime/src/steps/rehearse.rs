//! The dry run: the same decisions as the real run, with nothing written.

use std::collections::BTreeMap;

use muster_broker::Fault;
use muster_core::chain::{Page, Planned};
use muster_core::numbers::Numbers;
use muster_core::plan::Plan;
use muster_core::problem::Problem;
use muster_core::record::agent_id;
use serde::Serialize;

use super::{Job, decide, plan, resolve};

/// This many recipients of each decision are named.
const SAMPLE: usize = 10;
/// This many recipients are looked at together.
const PAGE: usize = 900;

/// What would happen.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Rehearsal {
    /// The task would be refused.
    Refused {
        /// Why.
        refused: Vec<Problem>,
    },
    /// The task would be carried out.
    Planned {
        /// The command.
        action: String,
        /// The lane that it sets.
        lane: Option<String>,
        /// How many recipients it would have.
        recipients: u64,
        /// What would be decided about them.
        decisions: Vec<Decided>,
    },
}

/// The recipients of one decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decided {
    /// `commanded`, `skipped`, `superseded` or `gone`.
    pub decision: &'static str,
    /// Why they would be skipped, or by which task they are superseded.
    pub reason: Option<String>,
    /// How many.
    pub count: u64,
    /// The ids of the first ones.
    pub sample: Vec<String>,
}

/// Decides about the whole and about each recipient as the index stands now, and stores nothing.
///
/// # Errors
/// [`Fault::Unavailable`].
pub async fn rehearse(job: &Job<'_>) -> Result<Rehearsal, Fault> {
    let mut txn = job.txn();
    let plan = match plan::stage(job, &mut txn).await? {
        Planned::Plan(plan) => plan,
        Planned::Refused { errors } => return Ok(Rehearsal::Refused { refused: errors }),
        Planned::Nothing { .. } | Planned::Stop(_) => return Ok(Rehearsal::Refused { refused: Vec::new() }),
    };
    let recipients = resolve::resolve(job.context, job.fleet(), &plan.select).await?;
    let decisions = decisions(job, &plan, &recipients).await?;
    Ok(Rehearsal::Planned {
        action: plan.action.clone(),
        lane: plan.lane.as_ref().map(ToString::to_string),
        recipients: recipients.len(),
        decisions: decisions.into_iter().map(decided).collect(),
    })
}

type Decisions = BTreeMap<(&'static str, Option<String>), Numbers>;

async fn decisions(job: &Job<'_>, plan: &Plan, recipients: &Numbers) -> Result<Decisions, Fault> {
    let mut all = Decisions::new();
    let mut add = |decision, reason, numbers: &Numbers| {
        if !numbers.is_empty() {
            all.entry((decision, reason)).or_default().union_with(numbers);
        }
    };
    let mut after = None;
    loop {
        let mut txn = job.txn();
        let (page, _): (Page, _) = decide::stage(job, plan, recipients, 0, after, PAGE, &mut txn).await?;
        add("commanded", None, &page.commanded);
        add("gone", None, &page.gone);
        page.skipped.iter().for_each(|(reason, numbers)| add("skipped", Some(reason.clone()), numbers));
        page.superseded.iter().for_each(|(by, numbers)| add("superseded", Some(by.clone()), numbers));
        if page.last {
            return Ok(all);
        }
        after = page.upto;
    }
}

fn decided(((decision, reason), numbers): ((&'static str, Option<String>), Numbers)) -> Decided {
    Decided { decision, reason, count: numbers.len(), sample: numbers.iter().take(SAMPLE).map(agent_id).collect() }
}
