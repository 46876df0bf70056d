//! What a status says was done, its agent says it did; what an agent did, its status says. No edge command was done twice.

use roaring::RoaringBitmap;

use crate::account::Account;
use crate::numbers::some;
use crate::status::partition;
use crate::world::{Task, Violation, World};

/// What an agent says about one task.
#[derive(Default)]
struct Said {
    good: RoaringBitmap,
    bad: RoaringBitmap,
    /// Done, or at least begun, more than once.
    twice: RoaringBitmap,
    /// Who keeps count.
    counting: RoaringBitmap,
    unconfirmed: RoaringBitmap,
}

impl Said {
    fn add(&mut self, number: u32, task: &str, edge: Option<&Lines>, account: &Account) {
        if let Some(did) = &account.did {
            self.counting.insert(number);
            let did = did.get(task).copied().unwrap_or_default();
            self.good.extend((did.good > 0).then_some(number));
            self.bad.extend((did.bad > 0).then_some(number));
            self.twice.extend((did.good + did.bad > 1).then_some(number));
        } else if let Some((ran, Lines { name, tasks })) = account.ran.as_ref().zip(edge) {
            let times = ran.get(*name).copied().unwrap_or_default();
            self.twice.extend((times > *tasks).then_some(number));
            // Killed while it ran, it says "interrupted": its program may have come to its line or not. And of which
            // of several tasks a line is, it does not say.
            if *tasks == 1 {
                self.counting.insert(number);
                self.good.extend((times > 0).then_some(number));
                self.bad.insert(number);
            }
        }
        self.unconfirmed.extend(account.unconfirmed.iter().any(|of| of == task).then_some(number));
    }
}

/// The lines that a program writes for a task: with the task's id, which stands in the alert. A task that repeats another
/// one for those who failed is for the alert of the other.
struct Lines<'a> {
    name: &'a str,
    /// So many tasks have these lines.
    tasks: u64,
}

impl<'a> Lines<'a> {
    fn of(world: &World, id: &'a str, task: &'a Task) -> Self {
        let name = named(task).unwrap_or(id);
        let same = world.tasks.values().filter(|other| named(other) == Some(name)).count();
        Self { name, tasks: u64::try_from(same).unwrap_or(u64::MAX).max(1) }
    }
}

fn named(task: &Task) -> Option<&str> {
    task.plan.as_ref()?["args"]["alert"]["data"]["run"].as_str()
}

pub(super) fn check(world: &World, id: &str, task: &Task) -> Vec<Violation> {
    let mut found = Vec::new();
    // An agent that is deleted does nothing: the gateway sees it off.
    if task.decision() != "plan" || task.plan.as_ref().is_some_and(|plan| plan["action"] == "disconnect") {
        return found;
    }
    let (mut said, edge) = (Said::default(), task.is_edge());
    let lines = edge.then(|| Lines::of(world, id, task));
    for (number, account) in world.accounts_of(task) {
        said.add(*number, id, lines.as_ref(), account);
    }
    let mut is = |rule, set: RoaringBitmap, seen: &str| {
        if !set.is_empty() {
            found.push(Violation::new(rule, id, format!("{} {seen}", some(&set))));
        }
    };
    if edge {
        is("done-twice", said.twice.clone(), "did an edge command more than once");
        let strange = (&said.good | &said.twice) - &task.recipients;
        is("done-strange", strange, "did an edge command and are no recipients");
    }
    let parts = partition(task);
    let of = |status: &str| parts.get(status).cloned().unwrap_or_default() & &said.counting;
    is("not-done", of("success") - &said.good, "are in success, and say that they never did it");
    is("not-done", of("failure") - (&said.bad | &said.good), "are in failure, and say that they never tried");
    // What was done and not confirmed is reported again; who was deleted in between cannot.
    let silent = &said.unconfirmed | &world.index_of(task).gone;
    let reported = of("success") | of("failure");
    let virtual_bad = if edge { RoaringBitmap::new() } else { said.bad.clone() };
    let done = (&said.good | &virtual_bad) & &task.recipients;
    is("not-counted", done - reported - silent, "did it, and their status does not say so");
    found
}
