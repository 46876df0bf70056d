//! Nothing is left over: no edge command of a task that has ended waits, nothing was parked, no consumer is behind.

use crate::world::{Violation, World};

pub(super) fn check(world: &World) -> Vec<Violation> {
    let ended = |task: &str| {
        let summary = world.tasks.get(task).and_then(|task| task.summary.as_ref());
        summary.is_some_and(|summary| !summary["ended"].is_null())
    };
    let runs = world.runs.iter().filter(|(_, task)| ended(task));
    let runs =
        runs.map(|(agent, task)| Violation::new("mailbox", task, format!("it has ended, and waits for {agent}")));
    let deadlines = world.deadlines.iter().flatten().filter(|task| ended(task));
    let deadlines = deadlines.map(|task| Violation::new("deadline", task, "it has ended, and its deadline is there"));
    let dead = world.dead.iter().map(|letter| Violation::new("dead-letter", "DEAD", letter));
    let behind = world.behind.iter().filter(|(.., pending, open)| pending + open > 0);
    let behind = behind.map(|(stream, consumer, pending, open)| {
        Violation::new("behind", format!("{stream}/{consumer}"), format!("{pending} pending, {open} not acknowledged"))
    });
    runs.chain(deadlines).chain(dead).chain(behind).collect()
}
