//! Retry: a task that repeats another one for those who did not make it.

use muster_broker::Fault;
use muster_core::chain::{Planned, key};
use muster_core::plan::{Decision, Plan};
use muster_core::problem::Problem;
use muster_core::record::Agent;
use muster_core::target::Target;
use muster_core::task::Retry;

use super::chain::stored;
use super::{Job, admit};

/// The plan of the task that is repeated, for some of its recipients and without its changes.
pub(super) async fn plan(job: &Job<'_>, retry: &Retry) -> Result<Planned, Fault> {
    let refused = |message: String| {
        Ok(Planned::Refused { errors: vec![Problem::new("retry", "/retry/of", message).hint("see: muster task list")] })
    };
    let Some(before) = admit::summary(job.context, &retry.of).await? else {
        return refused(format!("there is no task '{}'", retry.of));
    };
    if before.kind != job.task.kind.name() {
        return refused(format!("the task '{}' is of type {}", retry.of, before.kind));
    }
    match stored::<Planned>(job.context, job.fleet(), &key::plan(&retry.of)).await?.map(|stored| stored.decision) {
        Some(Planned::Plan(plan)) => Ok(Planned::Plan(Box::new(Plan {
            select: Target::Failures(retry.of.clone(), retry.status.clone()),
            changes: Vec::new(),
            finish: Vec::new(),
            on_stop: Vec::new(),
            superseded_by: None,
            ..*plan
        }))),
        _ => refused(format!("the task '{}' has no plan that could be repeated", retry.of)),
    }
}

/// A level lane that still carries the task is handed over again; whoever has changed it since has the last word.
pub(super) fn decide(retry: &Retry, plan: &Plan, agent: &Agent) -> Decision {
    match &plan.lane {
        None => Decision::Run,
        Some(lane) if agent.lanes.get(lane).is_some_and(|entry| entry.task == retry.of) => Decision::Again,
        Some(_) => Decision::Skipped("changed since".into()),
    }
}
