//! The evidence in lines for people, each with the place where it lies.

use muster_core::chain::{Frozen, Planned};
use muster_core::status::Mark;

use super::evidence::{Decided, Evidence};
use crate::commands::summary::line;
use crate::output::short;

/// What was found, from the whole to the one.
pub(super) fn lines(evidence: &Evidence) -> Vec<String> {
    let task = &evidence.summary.id;
    let summary = &evidence.summary;
    let standing = line(summary).split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = vec![format!("tasks/{task}: {}, of {}, {standing}", summary.kind, summary.created)];
    out.extend(summary.errors.iter().map(|error| format!("tasks/{task}: {error}")));
    out.push(record(evidence));
    out.extend(plan(evidence).map(|said| format!("agents/plan.{task}: {said}")));
    if let Some(Frozen::Recipients { count, .. }) = &evidence.frozen {
        let it = if evidence.recipient { "it is one of" } else { "it is none of" };
        out.push(format!("agents/recipients.{task}: {it} {count} recipients"));
    }
    if let Some((n, decided)) = &evidence.decided {
        out.push(format!("agents/page.{task}.{n}: {}", said(decided)));
    }
    if let Some(stop) = &evidence.stop {
        let user = stop.user.as_ref().map(|user| format!(" by {user}")).unwrap_or_default();
        let kind = serde_json::json!(stop.kind);
        out.push(format!("agents/stop.{task}: {}{user}: {}", kind.as_str().unwrap_or_default(), stop.reason));
    }
    let agent = &evidence.agent;
    out.extend(evidence.started.map(|at| format!("RESULTS starts.{task}.{agent}: it started, {at}")));
    if let Some((result, at)) = &evidence.result {
        let status = serde_json::json!(result.status);
        let (code, message) = (result.result.code, &result.result.message);
        let status = status.as_str().unwrap_or_default();
        out.push(format!("RESULTS results.{task}.{agent}: {status}, code {code}, {message:?}, {at}"));
    }
    out.extend(
        evidence.marks.iter().filter_map(mark).map(|said| format!("sets/{task}: the collector counts it as {said}")),
    );
    if let Some(command) = &evidence.command {
        let taken = if command.taken { "a gateway has taken it up" } else { "no gateway has taken it up" };
        out.push(format!("{}: stored {}, {taken}", command.subject, command.at));
    }
    out.extend(state_of_now(evidence));
    out
}

fn record(evidence: &Evidence) -> String {
    let agent = &evidence.agent;
    let Some(record) = &evidence.record else { return format!("agents/id.{agent}: there is none") };
    let gone = if record.gone { ", deleted" } else { "" };
    let seen = evidence.reported.as_ref().and_then(|reported| reported.seen);
    let seen = seen.map_or_else(|| "never heard".to_owned(), |at| format!("last heard about {at}"));
    format!(
        "agents/id.{agent}: {}{gone}, in {}, enrolled {}, {seen}",
        record.name,
        record.groups.join(","),
        record.enrolled
    )
}

fn plan(evidence: &Evidence) -> Option<String> {
    Some(match evidence.plan.as_ref()? {
        Planned::Plan(plan) => {
            let lane = plan.lane.as_ref().map(|lane| format!(", lane {lane}")).unwrap_or_default();
            format!("{}{lane}, for {}", plan.action, brief(&serde_json::json!(plan.select).to_string()))
        }
        Planned::Refused { .. } => "refused".to_owned(),
        Planned::Nothing { reason } => format!("nothing to do: {reason}"),
        Planned::Stop(_) => "stopped before it was planned".to_owned(),
    })
}

fn brief(text: &str) -> String {
    if text.chars().count() <= 120 { text.to_owned() } else { text.chars().take(117).chain("...".chars()).collect() }
}

fn said(decided: &Decided) -> String {
    match decided {
        Decided::Commanded => "commanded".to_owned(),
        Decided::Skipped(reason) => format!("skipped, {reason}"),
        Decided::Superseded(by) => format!("superseded by {by}"),
        Decided::Gone => "gone".to_owned(),
    }
}

/// What the collector has marked; that a page has decided is said by the page.
fn mark(mark: &Mark) -> Option<String> {
    match mark {
        Mark::Decided => None,
        Mark::Started(_) => Some("in_progress".to_owned()),
        Mark::Is(status, None) => Some(status.name().to_owned()),
        Mark::Is(status, Some(why)) => Some(format!("{} ({why})", status.name())),
    }
}

/// Whether the agent runs with what its record says.
fn state_of_now(evidence: &Evidence) -> Vec<String> {
    let Some(record) = evidence.record.as_ref().filter(|record| !record.gone) else { return Vec::new() };
    let in_force = evidence.reported.as_ref().map(|reported| &reported.digests);
    let contents = record.lanes.iter().filter_map(|(lane, entry)| Some((lane, entry, entry.digest.as_ref()?)));
    let say = |(lane, entry, wanted): (_, &muster_core::record::Entry, &String)| {
        let revision = entry.revision.map(|revision| format!(" revision {revision}")).unwrap_or_default();
        let state = format!("lane {lane}: the state of now is{revision} ({}) by {}", short(wanted), entry.task);
        match in_force.and_then(|digests| digests.get(lane)) {
            Some(digest) if digest == wanted => format!("{state}; the agent runs with it"),
            Some(digest) => format!("{state}; the agent runs with {}", short(digest)),
            None => format!("{state}; the agent has not said that it runs with it"),
        }
    };
    contents.map(say).collect()
}
