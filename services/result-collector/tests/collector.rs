//! The collector on a real server: copies side by side, a killed one, forged and unreadable messages, time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rig;

use std::time::Duration;

use muster_core::fact::Fact;
use muster_core::message::ReportStatus::{Failure, InProgress, Success};
use muster_core::numbers::Numbers;
use muster_core::status::{Mark, State, Status};
use muster_core::summary::{Stop, StopKind};
use rig::{Rig, result, start};

/// A timeout and a life that no test lives to see.
const LONG: i64 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_at_work_and_one_killed_count_exactly() {
    let rig = Rig::start().await;
    // Both at work at once, and what the killed one held comes again soon.
    rig.side_by_side().await;
    let recipients: Vec<u32> = (60_000..72_000).collect();
    for task in ["t1", "t2"] {
        rig.admit(task, LONG, LONG).await;
        rig.freeze(task, &recipients).await;
        for (n, page) in recipients.chunks(900).enumerate() {
            rig.page(task, n as u32, page).await;
        }
    }
    let (first, second) = (rig.collector().await, rig.collector().await);
    // Seven in a hundred fail; everything is told twice, in disorder.
    let reports = |task: &'static str| {
        let recipients = recipients.clone();
        recipients.into_iter().map(move |n| result(task, n, if n % 100 < 7 { Failure } else { Success }))
    };
    let once: Vec<_> = reports("t1").chain(reports("t2")).collect();
    let all = rig::shuffled([once.clone(), once].concat());
    let half = all.len() / 2;
    rig.publish(all[..half].to_vec()).await;
    rig.until("t1", |s| s.counts.success > 0).await;
    first.kill();
    rig.publish(all[half..].to_vec()).await;
    for task in ["t1", "t2"] {
        let end = rig.until(task, |s| s.ended.is_some()).await;
        assert_eq!((end.counts.failure, end.counts.success, end.counts.total()), (840, 11_160, 12_000));
        assert_eq!(end.state, State::Partial);
    }
    rig.all_acked().await;
    for task in ["t1", "t2"] {
        let failed: Numbers = recipients.iter().copied().filter(|n| n % 100 < 7).collect();
        let mut all: Numbers = recipients.iter().copied().collect();
        assert_eq!(rig.set(task, &Mark::Decided).await, all);
        assert_eq!(rig.set(task, &Mark::of(Status::Failure)).await, failed);
        all.subtract(&failed);
        assert_eq!(rig.set(task, &Mark::of(Status::Success)).await, all);
        assert_eq!(rig.keys(task).await.len(), 6, "three facts in two containers");
    }
    second.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_stands_by_takes_over() {
    let rig = Rig::start().await;
    rig.admit("t", LONG, LONG).await;
    rig.freeze("t", &[1, 2, 3]).await;
    rig.page("t", 0, &[1, 2, 3]).await;
    let first = rig.collector().await;
    rig.publish(vec![result("t", 1, Success)]).await;
    rig.until("t", |s| s.counts.success == 1).await;
    let second = rig.collector().await;
    first.kill();
    rig.publish(vec![result("t", 2, Success), result("t", 3, Success)]).await;
    assert_eq!(rig.until("t", |s| s.ended.is_some()).await.state, State::Succeeded);
    second.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_rubbish_change_nothing_and_hold_nothing_up() {
    let rig = Rig::start().await;
    rig.admit("t", LONG, LONG).await;
    rig.freeze("t", &[1, 2]).await;
    let copy = rig.collector().await;
    rig.publish(vec![
        result("t", 3, Success),
        start("t", 70_000),
        result("unknown", 1, Success),
        ("results.t.001".into(), b"{\"number\":".to_vec()),
        ("results.t.002".into(), vec![0xff; 200_000]),
        ("facts.t".into(), b"{\"fact\":\"finished\"}".to_vec()),
        ("facts.a b".replace(' ', "="), serde_json::to_vec(&Fact::Frozen).unwrap()),
        ("facts.t".into(), serde_json::to_vec(&Fact::Page { n: 7 }).unwrap()),
    ])
    .await;
    rig.page("t", 0, &[1, 2]).await;
    rig.publish(vec![result("t", 1, Success), result("t", 2, Failure)]).await;
    let end = rig.until("t", |s| s.ended.is_some()).await;
    assert_eq!((end.counts.success, end.counts.failure, end.counts.total()), (1, 1, 2));
    assert_eq!(rig.keys("t").await, ["t.decided.0", "t.failure.0", "t.success.0"]);
    assert!(rig.keys("unknown").await.is_empty());
    assert!(rig.summary("unknown").await.is_none());
    let dead = rig.dead().await;
    assert_eq!(dead.len(), 4, "{dead:?}");
    assert!(dead.iter().all(|letter| letter["reason"].is_string() && letter["subject"].is_string()));
    assert_eq!(dead[0]["body"], "{\"number\":");
    assert_eq!(dead[1]["base64"], true);
    rig.all_acked().await;
    copy.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_before_the_freeze_is_kept() {
    let rig = Rig::start().await;
    for task in ["t", "refused"] {
        rig.admit(task, LONG, -LONG).await;
    }
    let refusal = Fact::Refused { errors: vec![] };
    rig.fact("refused", &refusal).await;
    let first = rig.collector().await;
    rig.until("refused", |s| s.ended.is_some()).await;
    // 1 joined the group behind the plan, took its configuration with the list of its groups, and then goes offline.
    // 9 and 70,000 turn out to be no recipients.
    let early = [result("t", 1, Success), result("t", 9, Failure), start("t", 70_000), result("refused", 1, Success)];
    rig.publish(early.to_vec()).await;
    rig.all_acked().await;
    assert_eq!(rig.summary("t").await.unwrap().state, State::Pending);
    assert!(rig.keys("refused").await.is_empty());
    // It outlives the copy that took it in.
    first.finish().await;
    rig.freeze("t", &[1, 2]).await;
    rig.page("t", 0, &[1, 2]).await;
    rig.publish(vec![result("t", 9, Success)]).await;
    let second = rig.collector().await;
    let end = rig.until("t", |s| s.ended.is_some()).await;
    assert_eq!((end.counts.success, end.counts.expired, end.counts.total()), (1, 1, 2));
    rig.all_acked().await;
    assert_eq!(rig.set("t", &Mark::of(Status::Success)).await, Numbers::from_iter([1]), "9 came too late to be kept");
    second.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_cannot_be_read_is_put_aside_and_the_others_go_on() {
    let rig = Rig::start().await;
    for task in ["broken", "good"] {
        rig.admit(task, LONG, LONG).await;
        rig.freeze(task, &[1]).await;
    }
    rig.put("sets", "broken.success.0", b"{}".to_vec()).await;
    let copy = rig.collector().await;
    rig.page("good", 0, &[1]).await;
    rig.publish(vec![result("broken", 1, Success), result("good", 1, Success)]).await;
    assert_eq!(rig.until("good", |s| s.ended.is_some()).await.state, State::Succeeded);
    rig.all_acked().await;
    let dead = rig.dead().await;
    let subjects: Vec<_> = dead.iter().map(|letter| &letter["subject"]).collect();
    assert_eq!(subjects, ["facts.broken", "results.broken.001"]);
    assert!(dead[0]["reason"].as_str().unwrap().contains("broken.success.0"), "{dead:?}");
    copy.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_after_a_start_is_a_timeout_for_any_copy() {
    let rig = Rig::start().await;
    rig.admit("t", 1, LONG).await;
    rig.freeze("t", &[1, 2]).await;
    rig.page("t", 0, &[1, 2]).await;
    let first = rig.collector().await;
    rig.publish(vec![start("t", 1), start("t", 2), result("t", 2, Success)]).await;
    // All of it is stored: what a killed copy has only pulled comes again when it may be too late for this test.
    rig.until("t", |s| s.counts.in_progress + s.counts.timeout > 0 && s.counts.success == 1).await;
    // The start is known to a copy that is gone.
    first.kill();
    let second = rig.collector().await;
    let end = rig.until("t", |s| s.ended.is_some()).await;
    assert_eq!((end.counts.timeout, end.counts.success, end.state), (1, 1, State::Partial));
    assert_eq!(rig.set("t", &Mark::of(Status::Timeout)).await, Numbers::from_iter([1]));
    second.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn success_after_expiry_amends_the_counts_and_not_the_end() {
    let rig = Rig::start().await;
    // It passed long ago: nobody has to tell.
    rig.admit("t", LONG, -LONG).await;
    rig.freeze("t", &[1, 2]).await;
    let copy = rig.collector().await;
    rig.page("t", 0, &[1, 2]).await;
    let end = rig.until("t", |s| s.ended.is_some()).await;
    assert_eq!((end.state, end.counts.expired), (State::Expired, 2));
    rig.publish(vec![result("t", 2, Success)]).await;
    let late = rig.until("t", |s| s.counts.success == 1).await;
    assert_eq!((late.counts.expired, late.state, late.ended), (1, State::Partial, end.ended));
    copy.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_newer_tasks_and_plans_that_end_a_task() {
    let rig = Rig::start().await;
    for task in ["stopped", "overtaken", "unplanned", "nothing", "parked"] {
        rig.admit(task, LONG, LONG).await;
    }
    let copy = rig.collector().await;
    let stop = |kind| Stop { kind, reason: "because".into(), user: None };
    rig.freeze("stopped", &[1, 2, 3]).await;
    rig.page("stopped", 0, &[1]).await;
    rig.fact("stopped", &Fact::Stopped { stop: stop(StopKind::Cancelled), after: Some(1), edge: false }).await;
    let open = rig.until("stopped", |s| s.state == State::Stopping).await;
    assert_eq!((open.counts.cancelled, open.counts.pending), (2, 1));
    rig.publish(vec![result("stopped", 1, Success)]).await;
    assert_eq!(rig.until("stopped", |s| s.ended.is_some()).await.state, State::Cancelled);

    rig.freeze("overtaken", &[1, 2]).await;
    rig.page("overtaken", 0, &[1, 2]).await;
    rig.publish(vec![result("overtaken", 1, Success)]).await;
    rig.until("overtaken", |s| s.counts.success == 1).await;
    rig.fact("overtaken", &Fact::Superseded { by: "newer".into(), numbers: [1, 2, 3].into_iter().collect() }).await;
    let end = rig.until("overtaken", |s| s.ended.is_some()).await;
    assert_eq!((end.state, end.counts.superseded, end.counts.success), (State::Succeeded, 1, 1));
    let newer = Mark::because(Status::Superseded, "newer");
    assert_eq!(rig.set("overtaken", &newer).await, Numbers::from_iter([2]));

    rig.fact("unplanned", &Fact::Stopped { stop: stop(StopKind::Cancelled), after: None, edge: false }).await;
    let end = rig.until("unplanned", |s| s.ended.is_some()).await;
    assert_eq!((end.state, end.recipients), (State::Cancelled, Some(0)));
    rig.fact("nothing", &Fact::Nothing { reason: "all are in the group".into() }).await;
    assert_eq!(rig.until("nothing", |s| s.ended.is_some()).await.message.as_deref(), Some("all are in the group"));

    rig.freeze("parked", &[4]).await;
    rig.publish(vec![start("parked", 4)]).await;
    rig.until("parked", |s| s.counts.in_progress == 1).await;
    rig.fact("parked", &Fact::Stopped { stop: stop(StopKind::Parked), after: Some(4), edge: true }).await;
    rig.until("parked", |s| s.state == State::Stopping && s.counts.in_progress == 1).await;
    rig.publish(vec![result("parked", 4, Success)]).await;
    let end = rig.until("parked", |s| s.ended.is_some()).await;
    assert_eq!((end.state, end.stop.map(|stop| stop.reason)), (State::Failed, Some("because".into())));
    copy.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_writes_and_acknowledges_what_was_pulled() {
    let rig = Rig::start().await;
    let recipients: Vec<u32> = (0..3_000).collect();
    rig.admit("t", LONG, LONG).await;
    rig.freeze("t", &recipients).await;
    let mut told = 0;
    // Copies come and go; none leaves anything that only a redelivery would bring back.
    for part in recipients.chunks(1_000) {
        let copy = rig.collector().await;
        rig.publish(part.iter().map(|n| result("t", *n, InProgress)).collect()).await;
        told += part.len() as u64;
        rig.until("t", |s| s.counts.in_progress == told).await;
        tokio::time::timeout(Duration::from_secs(60), copy.finish()).await.expect("it ends");
        rig.all_acked().await;
    }
}
