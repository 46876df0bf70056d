//! `task.list`: summaries, the newest first, by what is asked for.

use std::cmp::Reverse;

use futures::StreamExt;
use muster_broker::{decode, kv};
use muster_core::configuration::duration;
use muster_core::instant::Instant;
use muster_core::problem::Problem;
use muster_core::stamp::Stamp;
use muster_core::status::State;
use muster_core::summary::Summary;
use muster_runtime::reply::{Answer, Error};
use serde::Deserialize;
use serde_json::json;

use crate::questions::{Asked, Context, MAX_LIST};

/// Which tasks are asked for; those of a user are named by `user`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    #[serde(rename = "type")]
    kind: Option<String>,
    state: Option<State>,
    source: Option<String>,
    since: Option<String>,
    before: Option<Stamp>,
}

pub(crate) async fn list(context: &Context, asked: &Asked) -> Answer {
    let filter = &asked.tasks;
    let since = filter.since.as_deref().map(|text| since(context, text)).transpose()?;
    let fits = |s: &Summary| {
        filter.kind.as_ref().is_none_or(|kind| *kind == s.kind)
            && filter.state.is_none_or(|state| state == s.state)
            && filter.source.as_ref().is_none_or(|source| Some(source) == s.source.as_ref())
            && asked.user.as_ref().is_none_or(|user| Some(user) == s.user.as_ref())
            && since.is_none_or(|since| s.created >= since)
    };
    let mut all: Vec<Summary> = Vec::new();
    let mut entries = context.steps.bus.scan(&kv::stream("tasks"), &kv::subject("tasks", "*")).await?;
    while let Some(entry) = entries.next().await.transpose()? {
        let Some(body) = entry.body else { continue };
        let summary: Summary = decode("tasks", &entry.subject, &body)?;
        if fits(&summary) {
            all.push(summary);
        }
    }
    let total = all.len();
    all.retain(|summary| filter.before.is_none_or(|before| summary.order < before));
    all.sort_by_key(|summary| Reverse(summary.order));
    let limit = asked.limit.unwrap_or(50).clamp(1, MAX_LIST);
    let more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more).map(|last| last.order);
    Ok(json!({ "tasks": all, "total": total, "next": next }))
}

/// A time, or how long ago.
fn since(context: &Context, text: &str) -> Result<Instant, Error> {
    let now = context.steps.clock.now();
    let ago =
        duration(text).map(|span| Instant(now.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))));
    ago.or_else(|| Instant::parse(text)).ok_or_else(|| {
        let message = format!("'{text}' is neither a duration such as 2h nor a time of RFC 3339");
        Error::Refused(400, vec![Problem::new("since", "/since", message)])
    })
}
