//! `task.targets`: who has which status, and what they said.

use std::collections::HashMap;

use muster_broker::{Fault, decode};
use muster_core::fact::StoredResult;
use muster_core::numbers::Numbers;
use muster_core::record::agent_id;
use muster_core::status::{Facts, Mark, Status};
use muster_core::summary::Summary;
use muster_runtime::reply::Answer;
use muster_runtime::steps::partition;
use serde_json::{Value, json};

use crate::questions::Context;

/// A page of a task's recipients in the order of their numbers.
pub(crate) async fn targets(
    context: &Context,
    summary: &Summary,
    status: Option<Status>,
    after: Option<u32>,
    limit: usize,
) -> Answer {
    let (facts, partition) = partition(&context.steps, summary.fleet(), &summary.id).await?;
    let mut wanted = Numbers::new();
    for (_, numbers) in partition.iter().filter(|(has, _)| status.is_none_or(|s| s == **has)) {
        wanted.union_with(numbers);
    }
    let page: Vec<u32> = wanted.after(after).take(limit).collect();
    let said = said(context, &summary.id, &page).await?;
    let of =
        |number| partition.iter().find(|(_, set)| set.contains(number)).map_or(Status::Pending, |(status, _)| *status);
    let targets: Vec<Value> = page.iter().map(|n| target(*n, of(*n), &facts, said.get(n))).collect();
    let next = page.last().filter(|last| wanted.after(Some(**last)).next().is_some());
    Ok(json!({ "id": summary.id, "total": wanted.len(), "targets": targets, "next": next }))
}

fn target(number: u32, status: Status, facts: &Facts, said: Option<&(StoredResult, String)>) -> Value {
    let mut out = json!({ "id": agent_id(number), "status": status });
    let reason = facts.iter().find_map(|(mark, numbers)| match mark {
        Mark::Is(of, Some(why)) if *of == status && numbers.contains(number) => Some(why),
        _ => None,
    });
    if let Some(why) = reason {
        out["reason"] = json!(why);
    }
    if let Some((result, at)) = said {
        out["code"] = json!(result.result.code);
        out["message"] = json!(result.result.message);
        out["at"] = json!(at);
        if !result.result.data.is_null() {
            out["data"] = result.result.data.clone();
        }
    }
    out
}

/// The newest report of each, with the server's time.
async fn said(context: &Context, task: &str, page: &[u32]) -> Result<HashMap<u32, (StoredResult, String)>, Fault> {
    let subjects =
        |kind: &str| -> Vec<String> { page.iter().map(|n| format!("{kind}.{task}.{}", agent_id(*n))).collect() };
    let mut out = HashMap::new();
    for kind in ["starts", "results"] {
        for entry in context.steps.bus.get_many("RESULTS", &subjects(kind)).await? {
            let Some(body) = entry.body else { continue };
            let result: StoredResult = decode("RESULTS", &entry.subject, &body)?;
            out.insert(result.number, (result, entry.at.to_string()));
        }
    }
    Ok(out)
}
