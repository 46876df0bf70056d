//! Each verdict from the least evidence that gives it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use muster_core::fact::StoredResult;
use muster_core::instant::Instant;
use muster_core::lane::Lane;
use muster_core::message::Outcome;
use muster_core::numbers::Numbers;
use muster_core::plan::Plan;
use muster_core::problem::Problem;
use muster_core::record::{Agent, Entry, Reported};
use muster_core::stamp::Stamp;
use muster_core::status::Mark;
use muster_core::summary::Summary;
use serde_json::json;

use super::super::evidence::on_page;
use super::super::lines::lines;
use super::*;
use crate::commands::summary::tests::summary;

/// The time of the task.
const AT: Instant = Instant(100_000);

fn entry(task: &str, number: u64) -> Entry {
    Entry {
        version: Stamp::new(0, number),
        order: Stamp::new(0, number),
        task: task.into(),
        digest: None,
        revision: None,
    }
}

/// A recipient that was commanded and has said nothing; its command was handed to a gateway after it was last heard.
fn evidence() -> Evidence {
    let plan: Plan =
        serde_json::from_value(json!({ "action": "set-group", "lane": "groups", "select": { "type": "all" } }))
            .unwrap();
    Evidence {
        agent: "007".into(),
        summary: Summary { id: "t".into(), state: State::Running, created: AT, errors: vec![], ..summary() },
        record: Some(Agent {
            number: 7,
            name: "web-7".into(),
            groups: vec!["default".into()],
            version: Stamp::new(0, 1),
            lanes: [(Lane::of(Lane::GROUPS), entry("t", 1))].into(),
            nkey: String::new(),
            enrolled: Instant(0),
            gone: false,
        }),
        reported: Some(Reported { seen: Some(Instant(50_000)), ..Reported::default() }),
        plan: Some(Planned::Plan(Box::new(plan))),
        frozen: Some(Frozen::Recipients { count: 1, containers: vec![0] }),
        recipient: true,
        decided: Some((0, Decided::Commanded)),
        stop: None,
        marks: vec![Mark::Decided],
        started: None,
        result: None,
        command: Some(Lying { subject: "commands.agent.007.set.groups".into(), at: AT, taken: true }),
    }
}

/// The verdict after a change of the evidence; the lines never fail.
fn after(change: impl FnOnce(&mut Evidence)) -> Verdict {
    let mut evidence = evidence();
    change(&mut evidence);
    assert!(lines(&evidence).len() > 1);
    verdict(&evidence)
}

fn code(change: impl FnOnce(&mut Evidence)) -> &'static str {
    after(change).code
}

fn result(status: ReportStatus, code: i32, message: &str) -> Option<(StoredResult, Instant)> {
    let result = Outcome { code, message: message.into(), data: json!(null) };
    Some((StoredResult { number: 7, status, result }, AT))
}

fn stop(kind: StopKind) -> Stop {
    Stop { kind, reason: "a mistake".into(), user: Some("ada".into()) }
}

#[test]
fn what_holds_for_the_whole_task() {
    let errors = vec![Problem::new("unknown-group", "/args/groups/0", "no group 'x'")];
    let refused = after(|e| e.plan = Some(Planned::Refused { errors: errors.clone() }));
    assert_eq!(refused.code, "refused");
    assert!(refused.answer.contains("no group 'x'"), "{}", refused.answer);
    assert_eq!(code(|e| (e.plan, e.summary.state) = (None, State::Rejected)), "refused");
    assert_eq!(code(|e| e.plan = Some(Planned::Nothing { reason: "same".into() })), "nothing-to-do");
    assert_eq!(code(|e| e.plan = Some(Planned::Stop(stop(StopKind::Cancelled)))), "cancelled");
    assert_eq!(code(|e| e.plan = Some(Planned::Stop(stop(StopKind::Expired)))), "expired");
    assert_eq!(code(|e| e.frozen = Some(Frozen::Stop(stop(StopKind::Parked)))), "parked");
    assert_eq!(code(|e| (e.plan, e.frozen, e.recipient) = (None, None, false)), "not-planned");
    assert_eq!(code(|e| (e.frozen, e.recipient) = (None, false)), "not-planned");
}

#[test]
fn who_was_not_meant() {
    assert_eq!(code(|e| e.record = None), "not-enrolled");
    assert_eq!(code(|e| (e.recipient, e.record.as_mut().unwrap().gone) = (false, true)), "gone");
    let select = |target: serde_json::Value| {
        let not = after(|e| {
            (e.recipient, e.decided) = (false, None);
            let Some(Planned::Plan(plan)) = &mut e.plan else { panic!() };
            plan.select = serde_json::from_value(target).unwrap();
        });
        assert_eq!(not.code, "not-matched");
        not.answer
    };
    assert!(select(json!({ "type": "group", "id": "web" })).contains("not in web (it is in default)"));
    assert!(select(json!({ "type": "group", "id": "default" })).contains("is in the group default now"));
    assert!(select(json!({ "type": "agent", "id": ["001", "002"] })).contains("not among the agents named (001, 002)"));
    assert!(select(json!({ "type": "query", "id": "os = windows" })).contains("'os = windows' does not hold for it"));
    assert!(select(json!({ "type": "query", "id": "name = web-7" })).contains("holds for it now"));
    let without = json!({ "from": { "type": "all" }, "without": { "type": "group", "id": "default" } });
    assert!(select(without).contains("taken out of the target: it is in the group default now"));
    let late = after(|e| (e.recipient, e.record.as_mut().unwrap().enrolled) = (false, Instant(AT.0 + 1)));
    assert!(late.answer.contains("after the task"), "{}", late.answer);
}

#[test]
fn what_it_reported_comes_first() {
    let done = after(|e| {
        e.result = result(ReportStatus::Success, 0, "");
        e.marks = vec![Mark::of(Status::Timeout), Mark::because(Status::Superseded, "u")];
    });
    assert_eq!(done.code, "succeeded");
    let failed = after(|e| e.result = result(ReportStatus::Failure, 7, "no room"));
    assert_eq!(failed.code, "failed");
    assert!(failed.answer.contains("with code 7: no room") && failed.answer.contains("muster task retry t"));
    // The report has left RESULTS, what the collector counted has not.
    assert_eq!(code(|e| e.marks = vec![Mark::of(Status::Success)]), "succeeded");
    assert_eq!(code(|e| e.marks = vec![Mark::of(Status::Failure)]), "failed");
}

#[test]
fn what_its_page_decided() {
    let skipped = after(|e| e.decided = Some((2, Decided::Skipped("already in web".into()))));
    assert_eq!(skipped.code, "skipped");
    assert!(skipped.answer.ends_with("nothing was sent: already in web."));
    assert_eq!(code(|e| e.decided = Some((0, Decided::Gone))), "gone");
    assert_eq!(code(|e| e.decided = None), "undecided");
    assert_eq!(code(|e| (e.decided, e.stop) = (None, Some(stop(StopKind::Cancelled)))), "cancelled");
    assert_eq!(code(|e| (e.decided, e.stop) = (None, Some(stop(StopKind::Expired)))), "expired");
}

#[test]
fn who_took_its_place() {
    let by = |change: fn(&mut Evidence)| {
        let verdict = after(change);
        assert_eq!(verdict.code, "superseded", "{}", verdict.answer);
        verdict.by
    };
    assert_eq!(by(|e| e.decided = Some((0, Decided::Superseded("u".into())))), Some("u".into()));
    assert_eq!(by(|e| e.marks.push(Mark::because(Status::Superseded, "u"))), Some("u".into()));
    // The collector has not come to it, and the record shows it already.
    assert_eq!(
        by(|e| {
            e.record.as_mut().unwrap().lanes.insert(Lane::of(Lane::GROUPS), entry("u", 2));
        }),
        Some("u".into())
    );
    // The agent has left the group whose configuration it was.
    assert_eq!(
        by(|e| {
            let Some(Planned::Plan(plan)) = &mut e.plan else { panic!() };
            plan.lane = Some(Lane::config("web"));
            e.record.as_mut().unwrap().lanes.insert(Lane::of(Lane::GROUPS), entry("left", 3));
        }),
        Some("left".into())
    );
}

#[test]
fn what_was_inferred() {
    assert_eq!(code(|e| (e.started, e.marks) = (Some(AT), vec![Mark::of(Status::Timeout)])), "timed-out");
    assert_eq!(code(|e| e.marks = vec![Mark::of(Status::Expired)]), "expired");
    assert_eq!(code(|e| e.record.as_mut().unwrap().gone = true), "gone");
    assert_eq!(
        code(|e| (e.marks, e.stop) = (vec![Mark::of(Status::Cancelled)], Some(stop(StopKind::Cancelled)))),
        "cancelled"
    );
}

#[test]
fn where_it_waits() {
    assert_eq!(code(|e| e.started = Some(AT)), "started");
    assert_eq!(code(|_| ()), "offline");
    assert_eq!(code(|e| e.reported = None), "offline");
    assert_eq!(code(|e| e.command.as_mut().unwrap().taken = false), "waiting-for-gateway");
    assert_eq!(code(|e| e.reported.as_mut().unwrap().seen = Some(Instant(AT.0 + 1))), "handed-over");
    assert_eq!(code(|e| e.command = None), "waiting");
}

#[test]
fn a_page_says_one_thing_of_each() {
    let set = |n: u32| Numbers::from_iter([n]);
    let page = muster_core::chain::Page {
        commanded: set(1),
        gone: set(2),
        skipped: [("why".to_owned(), set(3))].into(),
        superseded: [("u".to_owned(), set(4))].into(),
        ..Default::default()
    };
    let decided = [1, 2, 3, 4, 5].map(|n| on_page(&page, n));
    assert_eq!(
        decided,
        [
            Some(Decided::Commanded),
            Some(Decided::Gone),
            Some(Decided::Skipped("why".into())),
            Some(Decided::Superseded("u".into())),
            None
        ]
    );
}
