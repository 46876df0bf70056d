//! Each task has ended, with the status and the counts that its sets give.

use crate::status::{STATUSES, end, partition};
use crate::world::{Task, Violation, World};

const ENDS: [&str; 6] = ["rejected", "failed", "cancelled", "succeeded", "expired", "partial"];

pub(super) fn check(id: &str, task: &Task) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut is = |rule, seen: String| found.push(Violation::new(rule, id, seen));
    let Some(summary) = &task.summary else {
        is("task-lost", "it was stored, and has no summary".into());
        return found;
    };
    let state = summary["state"].as_str().unwrap_or_default();
    if !ENDS.contains(&state) || summary["ended"].is_null() {
        is("task-open", format!("its state is {state}: {}", summary["counts"]));
        return found;
    }
    // Whichever of its messages was admitted first gives it its order.
    let ordered = task.places.iter().any(|place| summary["order"] == format!("0-{place}").as_str());
    if !ordered || summary["type"] != task.kind.as_str() {
        is(
            "task-order",
            format!("order {} and type {}, stored at {:?}", summary["order"], summary["type"], task.places),
        );
    }
    if task.kind.is_empty() || (task.decision().is_empty() && state != "rejected") {
        is("task-undecided", format!("its state is {state}, and it has no plan"));
        return found;
    }
    let parts = partition(task);
    for status in STATUSES {
        let (said, set) = (&summary["counts"][status], parts.get(status).map_or(0, |set| set.len()));
        if *said != set {
            is("count", format!("{status}: the summary says {said}, the sets have {set}"));
        }
    }
    if summary["recipients"] != task.recipients.len() {
        is(
            "count",
            format!("recipients: the summary says {}, there are {}", summary["recipients"], task.recipients.len()),
        );
    }
    for open in ["pending", "in_progress"] {
        if let Some(set) = parts.get(open).filter(|set| !set.is_empty()) {
            is("recipient-open", format!("it has ended, and {} are {open}", crate::numbers::some(set)));
        }
    }
    let wanted = end(task, &parts);
    if state != wanted && !(state == "rejected" && task.decision().is_empty()) {
        is("state", format!("the summary says {state}, its facts say {wanted}"));
    }
    found
}

/// When a cancel is confirmed, nothing more is decided.
pub(super) fn cancelled(world: &World) -> Vec<Violation> {
    let pages = |id: &String| world.tasks.get(id).map_or(0, |task| task.pages.len());
    let later = world.cancelled.iter().filter(|(id, before)| pages(id) > **before);
    let seen = |id: &String, before| format!("{before} pages when its cancel was confirmed, {} now", pages(id));
    later.map(|(id, before)| Violation::new("decided-after-cancel", id, seen(id, before))).collect()
}
