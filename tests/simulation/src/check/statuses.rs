//! Each recipient has one status, and it is what became of it.

use std::sync::Arc;

use muster_core::chain::Planned;
use muster_core::fleet::Fleet;
use muster_core::lane::Lane;
use muster_core::numbers::Numbers;
use muster_core::status::{Counts, Facts, Mark, State, Status};
use muster_core::summary::{StopKind, Summary};
use muster_runtime::steps::{Context, partition};

use super::Rest;
use crate::process::{Process, ProcessClock};
use crate::world::World;

pub(super) async fn check(world: &World, rest: &Rest, task: &Summary, wrong: &mut Vec<String>) {
    let mut say = |what: String| wrong.push(format!("{}: {what}", task.id));
    let plan = rest.plan(&task.id);
    // What agents said after the backup was lost with the server; only that all has an end can be told of its tasks.
    if task.order.epoch < world.net.epoch() {
        let restored = task.stop.as_ref().is_some_and(|stop| stop.kind == StopKind::Restored);
        if restored && !matches!(task.state, State::Failed) {
            say(format!("{:?} although the server was restored", task.state));
        }
        return;
    }
    let ended_by_plan = !matches!(plan, Some(Planned::Plan(_)));
    match &plan {
        None if task.state != State::Rejected => return say(format!("{:?} without a plan", task.state)),
        Some(Planned::Refused { .. }) if task.state != State::Rejected => {
            say(format!("{:?} although its plan is a refusal", task.state));
        }
        Some(Planned::Plan(_)) if task.state == State::Rejected => say("rejected although it was planned".into()),
        Some(Planned::Stop(_)) if !matches!(task.state, State::Cancelled | State::Expired) => {
            say(format!("{:?} although it was stopped before its plan", task.state));
        }
        _ => {}
    }
    if ended_by_plan {
        return;
    }
    let clock = Arc::new(ProcessClock(Process::client(&world.net, "check")));
    let context = Context { bus: Arc::new(world.net.broker.clone()), clock };
    let Ok((facts, statuses)) = partition(&context, Fleet::Agents, &task.id).await else {
        return say("its facts cannot be read".into());
    };
    let recipients = rest.set(&format!("recipients.{}.", task.id));
    let counts = Counts::of(&statuses);
    if counts != task.counts || task.recipients != Some(recipients.len()) {
        say(format!(
            "{:?} recipients and {:?}, where {} have {counts:?}",
            task.recipients,
            task.counts,
            recipients.len()
        ));
    }
    let mut decided = Numbers::new();
    for page in rest.pages(&task.id) {
        if decided.common(&page.decided()) > 0 {
            say("a recipient is decided twice".into());
        }
        decided.union_with(&page.decided());
    }
    if task.stop.is_none() && rest.is_frozen(&task.id) && decided != recipients {
        say(format!("the recipients are {recipients:?} and decided are {decided:?}"));
    }
    for (status, numbers) in &statuses {
        for number in numbers.iter() {
            if let Err(why) = one(rest, task, *status, number, &facts, &decided) {
                say(format!("agent {number} is {} but {why}", status.name()));
            }
        }
    }
}

/// Whether a recipient's status is what became of it.
fn one(
    rest: &Rest,
    task: &Summary,
    status: Status,
    number: u32,
    facts: &Facts,
    decided: &Numbers,
) -> Result<(), String> {
    let ensure = |right: bool, why: &str| if right { Ok(()) } else { Err(why.to_owned()) };
    let at = (task.id.clone(), number);
    let ends = rest.deeds.ends.get(&at);
    let (succeeded, failed) = (ends.is_some_and(|e| e.contains(&true)), ends.is_some_and(|e| e.contains(&false)));
    let ran = rest.deeds.ran.get(&at).copied().unwrap_or(0);
    let Some(record) = rest.record(number) else { return Err("there is no such agent".into()) };
    let Some(Planned::Plan(plan)) = rest.plan(&task.id) else { return Err("there is no plan".into()) };
    let deletes = task.kind == "agent-deletion";
    // Who was deleted may not have come to report any more.
    if !record.gone {
        ensure(!succeeded || status == Status::Success, "it reported success")?;
        ensure(!failed || succeeded || status == Status::Failure, "it reported a failure")?;
        ensure(ran == 0 || succeeded || failed, "it began and has no result")?;
    }
    let stopped = task.stop.as_ref().map(|stop| stop.kind);
    let commanded = rest.pages(&task.id).iter().any(|page| page.commanded.contains(number));
    let because = |of: Status| {
        facts.iter().find_map(|(mark, numbers)| match mark {
            Mark::Is(is, Some(why)) if *is == of && numbers.contains(number) => Some(why.clone()),
            _ => None,
        })
    };
    match status {
        Status::Pending | Status::InProgress => return Err("it is over".into()),
        Status::Success => ensure(succeeded || deletes, "it did not report success")?,
        Status::Failure => ensure(failed && !succeeded, "it did not report a failure")?,
        Status::Skipped => ensure(!commanded && ran == 0, "it was commanded")?,
        Status::Gone => ensure(record.gone, "it is not deleted")?,
        Status::Superseded => {
            let by = because(Status::Superseded).ok_or("nobody says by which task")?;
            let by = rest.tasks.iter().find(|other| other.id == by).ok_or("there is no such task")?;
            // Another function may take an agent out of a group a little later than its task's place says.
            ensure(by.order > task.order || by.kind != task.kind, "the other task is older")?;
            ensure(plan.lane.is_some(), "it is an edge")?;
        }
        Status::Cancelled => {
            ensure(matches!(stopped, Some(StopKind::Cancelled)), "nobody has cancelled it")?;
            ensure(!decided.contains(number) || plan.lane.is_none(), "it was decided before")?;
            ensure(ran == 0 || record.gone, "it began")?;
        }
        Status::Expired => ensure(task.ended.is_some_and(|ended| ended >= task.deliver_until), "it was not time")?,
        Status::Timeout => ensure(rest.deeds.starts.contains(&at), "it did not start")?,
    }
    let patient = task.deliver_until.since(task.created).as_secs() > 300;
    // A state that is desired is in force, or has failed, whatever became of its messages.
    let lane = plan.lane.as_ref().and_then(|lane| record.lanes.get(lane));
    if !record.gone && lane.is_some_and(|entry| entry.task == task.id) && commanded {
        ensure(matches!(status, Status::Success | Status::Failure), "its lane names the task")?;
    }
    if let Some(by) =
        lane.filter(|entry| entry.task != task.id && plan.lane.as_ref().map(Lane::kind) == Some(Lane::GROUPS))
        && commanded
        && !record.gone
    {
        ensure(by.order > task.order, "an older task has taken its lane")?;
    }
    // What a newer task has taken is superseded, if it had not ended before.
    if commanded && !record.gone && plan.lane.is_some() && lane.is_none_or(|entry| entry.task != task.id) {
        let ended = matches!(status, Status::Success | Status::Failure | Status::Superseded);
        ensure(ended || !patient, "another task has its lane")?;
    }
    // An edge command that had time enough, and that nobody has stopped, has run.
    if plan.lane.is_none() && !deletes && commanded && !record.gone && task.stop.is_none() && patient {
        // It may have been interrupted before it did anything.
        ensure(ran == 1 || failed, "it never ran")?;
    }
    Ok(())
}
