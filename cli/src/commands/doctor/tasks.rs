//! Which open tasks do not come on: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_core::instant::Instant;
use muster_core::status::State;
use muster_core::summary::Summary;

use super::checks::{Check, LATE, Severity};

/// So long after its last deadline a task is ended by the task-manager and the collector, with time to spare.
const GRACE: Duration = Duration::from_secs(120);

/// What is to be said about the open tasks. `delivered`: the last place of TASKS that each function was given.
pub(super) fn checks(open: &[Summary], delivered: &BTreeMap<String, u64>, now: Instant) -> Vec<Check> {
    let Some(oldest) = open.iter().min_by_key(|task| task.order) else {
        return vec![Check::ok("tasks", "no task is open")];
    };
    let found = format!("{} open, the oldest is {} of {}", open.len(), oldest.id, oldest.created);
    let mut out = vec![Check::ok("tasks", found)];
    out.extend(unplanned(open, delivered, now));
    let past: Vec<&Summary> = open.iter().filter(|task| is_past(task, now)).collect();
    if let Some(first) = past.iter().min_by_key(|task| task.order) {
        let found = format!(
            "{} open past their deadline, the oldest is {} (until {})",
            past.len(),
            first.id,
            first.deliver_until
        );
        let todo = "are task-manager and result-collector running, and do their consumers come on?";
        out.push(Check::new(Severity::Error, "past-deadline", found, todo));
    }
    out
}

/// Tasks without a plan, by their type.
fn unplanned(open: &[Summary], delivered: &BTreeMap<String, u64>, now: Instant) -> Vec<Check> {
    let mut by_type: BTreeMap<&str, Vec<&Summary>> = BTreeMap::new();
    let waiting = |task: &&Summary| task.state == State::Pending && now.since(task.created) > LATE;
    for task in open.iter().filter(waiting) {
        by_type.entry(&task.kind).or_default().push(task);
    }
    let check = |(kind, mut tasks): (&str, Vec<&Summary>)| {
        tasks.sort_by_key(|task| task.order);
        let first = tasks[0];
        let given = delivered.get(kind).is_some_and(|place| *place >= first.order.number);
        let found =
            format!("{} of type {kind} are not planned, the oldest is {} of {}", tasks.len(), first.id, first.created);
        let todo = match (delivered.contains_key(kind), given) {
            (false, _) => format!("there is no function {kind} here; cancel them: muster task cancel {}", first.id),
            (true, false) => format!("it was not delivered yet; is the function running? muster run {kind}"),
            (true, true) => format!("it was delivered; look at the logs of {kind}, and: muster task show {}", first.id),
        };
        Check::new(Severity::Error, "stuck", found, todo)
    };
    by_type.into_iter().map(check).collect()
}

/// Whether it should have ended by now, whatever its recipients do.
fn is_past(task: &Summary, now: Instant) -> bool {
    let running = if task.counts.in_progress > 0 { Duration::from_secs(task.timeout) } else { Duration::ZERO };
    task.deliver_until.plus(running).plus(GRACE) < now
}

#[cfg(test)]
mod tests {
    use muster_core::stamp::Stamp;
    use muster_core::status::Counts;

    use super::*;
    use crate::commands::summary::tests::summary;

    const NOW: Instant = Instant(10_000_000);

    fn open(state: State, age: u64, left: i64) -> Summary {
        Summary {
            id: "x".into(),
            kind: "agent-name".into(),
            state,
            order: Stamp::new(0, 7),
            created: Instant(NOW.0 - i64::try_from(age).unwrap_or(0) * 1000),
            deliver_until: Instant(NOW.0 + left * 1000),
            timeout: 600,
            counts: Counts::default(),
            ..summary()
        }
    }

    fn found(task: Summary, delivered: Option<u64>) -> Vec<(&'static str, String)> {
        let delivered = delivered.map(|place| ("agent-name".to_owned(), place)).into_iter().collect();
        let bad = checks(&[task], &delivered, NOW).into_iter().filter(|check| check.severity > Severity::Note);
        bad.map(|check| (check.code, check.todo.unwrap_or_default())).collect()
    }

    #[test]
    fn a_task_that_waits_for_agents_is_well() {
        assert_eq!(found(open(State::Running, 86_400, 60), None), []);
        assert_eq!(found(open(State::Pending, 5, 60), None), []);
        assert_eq!(checks(&[], &BTreeMap::new(), NOW)[0].severity, Severity::Ok);
    }

    #[test]
    fn a_task_without_a_plan_is_stuck() {
        for (delivered, hint) in [(None, "cancel"), (Some(6), "muster run agent-name"), (Some(7), "logs")] {
            let found = found(open(State::Pending, 90, 60), delivered);
            assert!(found.len() == 1 && found[0].0 == "stuck" && found[0].1.contains(hint), "{found:?}");
        }
    }

    #[test]
    fn a_task_past_its_deadline_should_have_ended() {
        let code = |task| found(task, None).first().map(|(code, _)| *code);
        assert_eq!(code(open(State::Running, 900, -100)), None);
        assert_eq!(code(open(State::Running, 900, -200)), Some("past-deadline"));
        // Who has started may take its time.
        let counts = Counts { in_progress: 1, ..Counts::default() };
        assert_eq!(code(Summary { counts, ..open(State::Running, 900, -200) }), None);
        assert_eq!(code(Summary { counts, ..open(State::Running, 900, -800) }), Some("past-deadline"));
    }
}
