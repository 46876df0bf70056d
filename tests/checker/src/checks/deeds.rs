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
    fn add(&mut self, number: u32, task: &str, edge: bool, account: &Account) {
        if let Some(did) = &account.did {
            self.counting.insert(number);
            let did = did.get(task).copied().unwrap_or_default();
            self.good.extend((did.good > 0).then_some(number));
            self.bad.extend((did.bad > 0).then_some(number));
            self.twice.extend((did.good + did.bad > 1).then_some(number));
        } else if let Some(ran) = account.ran.as_ref().filter(|_| edge) {
            self.counting.insert(number);
            let times = ran.get(task).copied().unwrap_or_default();
            // Killed while it ran, it says "interrupted": its program may have come to its line or not.
            self.good.extend((times > 0).then_some(number));
            self.bad.insert(number);
            self.twice.extend((times > 1).then_some(number));
        }
        self.unconfirmed.extend(account.unconfirmed.iter().any(|of| of == task).then_some(number));
    }
}

pub(super) fn check(world: &World, id: &str, task: &Task) -> Vec<Violation> {
    let mut found = Vec::new();
    // An agent that is deleted does nothing: the gateway sees it off.
    if task.decision() != "plan" || task.plan.as_ref().is_some_and(|plan| plan["action"] == "disconnect") {
        return found;
    }
    let (mut said, edge) = (Said::default(), task.is_edge());
    for (number, account) in world.accounts_of(task) {
        said.add(*number, id, edge, account);
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
