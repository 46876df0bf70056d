//! A task's summary for people.

use muster_core::status::Counts;
use muster_core::summary::Summary;
use serde_json::json;

use crate::output::{fields, plain, table};

/// All of it.
pub(crate) fn page(summary: &Summary) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let stop = summary.stop.as_ref().map(|stop| {
        let user = stop.user.as_ref().map(|user| format!(" by {user}")).unwrap_or_default();
        let reason = if stop.reason.is_empty() { String::new() } else { format!(": {}", stop.reason) };
        format!("{}{user}{reason}", json!(stop.kind).as_str().unwrap_or_default())
    });
    let shown = [
        ("id", summary.id.clone()),
        ("type", summary.kind.clone()),
        ("state", summary.state.name().to_owned()),
        ("done", done(summary)),
        ("counts", counts(&summary.counts)),
        ("target", summary.target.as_ref().map(|target| json!(target).to_string()).unwrap_or_default()),
        ("source", text(&summary.source)),
        ("user", text(&summary.user)),
        ("created", summary.created.to_string()),
        ("ended", summary.ended.map(|at| at.to_string()).unwrap_or_default()),
        ("deliver until", summary.deliver_until.to_string()),
        ("timeout", format!("{} s", summary.timeout)),
        ("message", text(&summary.message)),
        ("stopped", stop.unwrap_or_default()),
    ];
    let errors = summary.errors.iter().map(|error| ("error", error.to_string()));
    fields(shown.into_iter().chain(errors))
}

/// A line while it runs.
pub(crate) fn line(summary: &Summary) -> String {
    let [state, done, counts] = parts(summary);
    plain(format!("{state:<10} {done:>9}  {counts}").trim_end())
}

/// What a line says: the state, how many are done, the counts.
pub(crate) fn parts(summary: &Summary) -> [String; 3] {
    [summary.state.name().to_owned(), done(summary), counts(&summary.counts)]
}

/// Many, a row each.
pub(crate) fn list(summaries: &[Summary]) -> String {
    let row = |s: &Summary| {
        [s.id.clone(), s.kind.clone(), s.state.name().to_owned(), done(s), counts(&s.counts), s.created.to_string()]
    };
    table(["id", "type", "state", "done", "counts", "created"], summaries.iter().map(row))
}

/// How many recipients have an end, of how many.
fn done(summary: &Summary) -> String {
    summary.recipients.map(|all| format!("{}/{all}", summary.counts.ended())).unwrap_or_default()
}

/// The counts that are not zero.
fn counts(counts: &Counts) -> String {
    let all = [
        ("success", counts.success),
        ("failure", counts.failure),
        ("skipped", counts.skipped),
        ("timeout", counts.timeout),
        ("expired", counts.expired),
        ("cancelled", counts.cancelled),
        ("superseded", counts.superseded),
        ("gone", counts.gone),
        ("in progress", counts.in_progress),
        ("pending", counts.pending),
    ];
    let some: Vec<String> = all.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
    some.join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// One that is none in particular.
    pub(crate) fn summary() -> Summary {
        let schema = include_str!("../../../schemas/summary.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        serde_json::from_value(schema["examples"][0].clone()).unwrap()
    }

    #[test]
    fn what_people_see() {
        let counts = Counts { success: 3, pending: 1, in_progress: 1, ..Counts::default() };
        let summary = Summary {
            id: "t0-7".into(),
            state: muster_core::status::State::Running,
            recipients: Some(5),
            counts,
            ..summary()
        };
        assert_eq!(line(&summary), "running          3/5  success 3, in progress 1, pending 1");
        assert!(page(&summary).contains("\ndone           3/5\n"));
        assert!(list(&[summary]).lines().nth(1).unwrap().starts_with("t0-7  "));
    }

    #[test]
    fn a_refused_task_says_why() {
        let errors = vec![muster_core::problem::Problem::new("unknown-group", "/args/groups/0", "no group 'x'")];
        let page = page(&Summary { errors, ..summary() });
        assert!(page.contains("error          /args/groups/0: no group 'x' (unknown-group)\n"), "{page}");
    }
}
