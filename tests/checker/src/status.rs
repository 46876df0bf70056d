//! The status of each recipient and of the task, computed again from the sets, as the design's sections 5 and 6 say it.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use serde_json::Value;

use crate::world::Task;

/// From the lowest to the highest; the highest that a set gives counts.
pub(crate) const STATUSES: [&str; 10] = [
    "pending",
    "in_progress",
    "expired",
    "timeout",
    "superseded",
    "cancelled",
    "gone",
    "skipped",
    "failure",
    "success",
];

/// The recipients of each status.
pub(crate) fn partition(task: &Task) -> BTreeMap<&'static str, RoaringBitmap> {
    let mut rest = task.recipients.clone();
    let mut out = BTreeMap::new();
    for status in STATUSES.into_iter().rev() {
        let here = match status {
            "pending" => rest.clone(),
            "in_progress" => task.set("started"),
            other => task.set(other),
        } & &rest;
        rest -= &here;
        out.insert(status, here);
    }
    out
}

/// The end that a task must have: the first that fits.
pub(crate) fn end(task: &Task, counts: &BTreeMap<&'static str, RoaringBitmap>) -> &'static str {
    let n = |status: &str| counts.get(status).map_or(0, RoaringBitmap::len);
    let stop = |value: &Option<Value>| value.as_ref().and_then(|stop| stop["kind"].as_str()).map(str::to_owned);
    match (task.decision(), stop(&task.stop).as_deref()) {
        ("refused", _) => return "rejected",
        ("nothing", _) => return "succeeded",
        (_, Some("parked" | "restored")) => return "failed",
        (_, Some("cancelled")) if stopped_somebody(task, counts) => return "cancelled",
        (_, Some("expired")) if task.recipients.is_empty() => return "expired",
        _ => {}
    }
    if n("failure") + n("timeout") + n("expired") == 0 {
        "succeeded"
    } else if n("success") + n("failure") + n("timeout") == 0 {
        "expired"
    } else if n("success") == 0 {
        "failed"
    } else {
        "partial"
    }
}

/// A cancel that finds the task ended and cancels nobody is none; the summary says whether the stop came before the end.
fn stopped_somebody(task: &Task, counts: &BTreeMap<&'static str, RoaringBitmap>) -> bool {
    let before_the_end = task.summary.as_ref().is_some_and(|summary| !summary["stop"].is_null());
    before_the_end || counts.get("cancelled").is_some_and(|set| !set.is_empty())
}
