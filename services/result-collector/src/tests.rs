//! The pure part: any order and any duplication give the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use muster_core::chain::Page;
use muster_core::instant::Instant;
use muster_core::message::ReportStatus;
use muster_core::numbers::Numbers;
use muster_core::stamp::Stamp;
use muster_core::status::{Counts, Mark, State, Status};
use muster_core::summary::{Stop, StopKind, Summary};
use proptest::prelude::*;

use crate::state::{Report, TaskState};

/// A timeout of 160 s makes slices of 10 s.
const TIMEOUT: u64 = 160;
const UNTIL: i64 = 1_000_000;
/// Recipients in two containers.
const RECIPIENTS: [u32; 12] = [0, 1, 2, 3, 4, 5, 65_536, 65_537, 65_538, 65_539, 65_540, 65_541];

fn set(numbers: &[u32]) -> Numbers {
    numbers.iter().copied().collect()
}

fn task(recipients: &[u32]) -> TaskState {
    let mut state = TaskState::new(summary());
    state.freeze(set(recipients).split());
    state
}

fn summary() -> Summary {
    let order = Stamp::new(0, 1);
    let rejected = Summary::rejected("t".into(), "group-assignment", order, String::new(), Instant(0), vec![]);
    Summary {
        state: State::Pending,
        recipients: None,
        ended: None,
        deliver_until: Instant(UNTIL),
        timeout: TIMEOUT,
        ..rejected
    }
}

fn stop(kind: StopKind) -> Stop {
    Stop { kind, reason: String::new(), user: None }
}

#[derive(Debug, Clone)]
enum Told {
    Report(u32, ReportStatus, i64),
    Page(Page),
    Superseded(Vec<u32>),
    Stopped(u32),
}

fn tell(state: &mut TaskState, told: &Told) {
    match told {
        Told::Report(number, status, at) => {
            state.report(&[Report { number: *number, status: *status, at: Instant(*at) }]);
        }
        Told::Page(page) => state.page(page),
        Told::Superseded(numbers) => {
            state.unfinished_are(&Mark::because(Status::Superseded, "newer"), &set(numbers));
        }
        Told::Stopped(after) => state.stopped(&stop(StopKind::Cancelled), Some(*after), false),
    }
}

/// All sets as they are stored, and the counts.
fn outcome(state: &mut TaskState) -> (BTreeMap<String, Vec<u8>>, Counts) {
    let sets = state.grown().into_iter().map(|(mark, container, value)| (mark.key("t", container), value)).collect();
    (sets, state.conclude(Instant(5)).counts)
}

fn report() -> impl Strategy<Value = Told> {
    use ReportStatus::{Failure, InProgress, Success};
    // Strangers report as well.
    let number = prop::sample::select([RECIPIENTS.as_slice(), &[6, 7, 65_535, 131_072, u32::MAX]].concat());
    (number, prop::sample::select(vec![InProgress, Success, Failure]), 0..100_000i64)
        .prop_map(|(number, status, at)| Told::Report(number, status, at))
}

fn some(numbers: &'static [u32]) -> impl Strategy<Value = Vec<u32>> {
    prop::sample::subsequence(numbers, 0..=numbers.len())
}

fn page() -> impl Strategy<Value = Told> {
    (some(&RECIPIENTS), some(&RECIPIENTS), some(&RECIPIENTS)).prop_map(|(commanded, skipped, gone)| {
        let skipped = BTreeMap::from([("no change".to_owned(), set(&skipped))]);
        Told::Page(Page { commanded: set(&commanded), skipped, gone: set(&gone), ..Page::default() })
    })
}

/// Messages, and the same in another order with some of them twice.
fn shuffled(
    told: impl Strategy<Value = Vec<Told>> + 'static,
) -> impl Strategy<Value = (Vec<Told>, Vec<Told>, Vec<Told>)> {
    told.prop_flat_map(|told| {
        let doubled: Vec<Told> = told.iter().chain(told.iter().step_by(2)).cloned().collect();
        (Just(told), Just(doubled.clone()).prop_shuffle(), Just(doubled).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn reports_and_pages_make_the_same_sets_in_any_order(
        (straight, one, other) in shuffled(prop::collection::vec(prop_oneof![3 => report(), 1 => page()], 0..30))
    ) {
        let [straight, one, other] = [straight, one, other].map(|told| {
            let mut state = task(&RECIPIENTS);
            told.iter().for_each(|t| tell(&mut state, t));
            outcome(&mut state)
        });
        prop_assert_eq!(&straight, &one);
        prop_assert_eq!(&straight, &other);
        prop_assert_eq!(straight.1.total(), RECIPIENTS.len() as u64);
    }

    /// What is inferred depends on who is unfinished, so a set may hold what another hides; the counts do not differ.
    /// As in a chain, nobody is superseded whom no page has decided.
    #[test]
    fn a_stop_and_a_newer_task_make_the_same_counts_in_any_order(
        (straight, one, other) in shuffled((
            prop::collection::vec(prop_oneof![3 => report(), 1 => page()], 0..20),
            some(&RECIPIENTS[..6]),
        ).prop_map(|(mut told, numbers)| {
            told.extend([Told::Superseded(numbers), Told::Stopped(5)]);
            told
        }))
    ) {
        let [straight, one, other] = [straight, one, other].map(|told| {
            let mut state = task(&RECIPIENTS);
            told.iter().for_each(|t| tell(&mut state, t));
            // Counts and the state of the task, but for when it ended.
            let summary = state.conclude(Instant(5));
            (summary.counts, summary.state)
        });
        prop_assert_eq!(straight, one);
        prop_assert_eq!(straight, other);
    }

    /// Whatever a task has gone through, all of it again changes nothing, whoever reads it anew.
    #[test]
    fn all_of_it_again_changes_nothing(
        told in prop::collection::vec(
            prop_oneof![6 => report(), 2 => page(), 1 => some(&RECIPIENTS).prop_map(Told::Superseded),
                1 => prop::sample::select(RECIPIENTS.to_vec()).prop_map(Told::Stopped)], 0..30),
        now in 0i64..3_000_000,
    ) {
        let mut state = task(&RECIPIENTS);
        told.iter().for_each(|t| tell(&mut state, t));
        state.infer(Instant(now), false);
        let first = state.conclude(Instant(now)).clone();
        let stored = state.grown();
        let mut again = TaskState::new(first.clone());
        again.freeze(set(&RECIPIENTS).split());
        for (mark, container, value) in stored {
            again.restore(mark, container, &Numbers::decode(&value).unwrap());
        }
        prop_assert_eq!(again.due(), state.due());
        prop_assert!(again.due().is_none_or(|due| due > Instant(now)));
        for state in [&mut state, &mut again] {
            prop_assert_eq!(state.conclude(Instant(now + 1)), &first);
        }
        // Time goes on, and everything is told once more: who had an end keeps it.
        told.iter().for_each(|t| tell(&mut again, t));
        again.infer(Instant(now), false);
        prop_assert_eq!(again.conclude(Instant(now + 1)).counts, first.counts);
        prop_assert_eq!(first.counts.total(), RECIPIENTS.len() as u64);
    }
}

proptest! {
    /// Whenever the recipients become known between the reports, they are counted the same.
    #[test]
    fn reports_before_the_freeze_count_as_those_behind_it(
        reports in prop::collection::vec(report(), 0..30), frozen in 0usize..30,
    ) {
        let mut early = TaskState::new(summary());
        for (n, told) in reports.iter().enumerate() {
            if n == frozen {
                early.freeze(set(&RECIPIENTS).split());
            }
            tell(&mut early, told);
        }
        early.freeze(set(&RECIPIENTS).split());
        let mut straight = task(&RECIPIENTS);
        reports.iter().for_each(|told| tell(&mut straight, told));
        prop_assert_eq!(early.conclude(Instant(5)), straight.conclude(Instant(5)));
    }
}

fn reported(numbers: &[u32], status: ReportStatus, at: i64) -> Vec<Report> {
    numbers.iter().map(|number| Report { number: *number, status, at: Instant(at) }).collect()
}

fn commanded(numbers: &[u32]) -> Page {
    Page { commanded: set(numbers), ..Page::default() }
}

#[test]
fn it_ends_when_everybody_is_decided_and_has_an_end() {
    let mut state = task(&[1, 2, 3]);
    assert_eq!(state.conclude(Instant(1)).state, State::Running);
    assert!(!state.report(&reported(&[1, 2, 3], ReportStatus::Success, 0)));
    state.page(&commanded(&[1, 2]));
    assert_eq!((state.conclude(Instant(2)).state, state.conclude(Instant(2)).ended), (State::Running, None));
    state.page(&commanded(&[3]));
    assert_eq!(
        (state.conclude(Instant(3)).state, state.conclude(Instant(4)).ended),
        (State::Succeeded, Some(Instant(3)))
    );
    assert!(state.report(&reported(&[1, 9], ReportStatus::Success, 0)), "9 is a stranger");
    assert!(state.grown().iter().all(|(_, _, value)| Numbers::decode(value).unwrap().max() <= Some(3)));
}

#[test]
fn with_nobody_to_reach_it_ends_when_its_last_page_is_told() {
    let mut nobody = task(&[]);
    nobody.infer(Instant(1), false);
    // A saga's last change may still be to be made.
    assert_eq!((nobody.conclude(Instant(1)).state, nobody.conclude(Instant(1)).ended), (State::Running, None));
    nobody.page(&Page { last: true, ..Page::default() });
    let end = nobody.conclude(Instant(2));
    assert_eq!((end.state, end.recipients, end.ended), (State::Succeeded, Some(0), Some(Instant(2))));
}

#[test]
fn a_plan_can_end_it() {
    let problem = muster_core::problem::Problem::new("unknown-group", "/args/groups/0", "there is no such group");
    let mut refused = TaskState::new(summary());
    assert_eq!(refused.conclude(Instant(1)).state, State::Pending);
    refused.refused(std::slice::from_ref(&problem), Instant(2));
    refused.refused(&[], Instant(3));
    refused.stopped(&stop(StopKind::Cancelled), None, false);
    let end = refused.conclude(Instant(4));
    assert_eq!((end.state, end.ended, end.recipients), (State::Rejected, Some(Instant(2)), Some(0)));
    assert_eq!((&end.errors, &end.stop), (&vec![problem], &None));

    let mut nothing = TaskState::new(summary());
    nothing.nothing("all are in the group", Instant(2));
    let end = nothing.conclude(Instant(4));
    assert_eq!((end.state, end.message.as_deref()), (State::Succeeded, Some("all are in the group")));
}

#[test]
fn a_started_one_that_falls_silent_times_out_late_by_a_slice_at_most() {
    let mut state = task(&[1, 2, 3]);
    state.page(&commanded(&[1, 2, 3]));
    state.report(&reported(&[1, 2], ReportStatus::InProgress, 14_000));
    state.report(&reported(&[2, 3], ReportStatus::Success, 20_000));
    // The slice from 10 to 20 s has run out at 180 s.
    assert_eq!(state.due(), Some(Instant(180_000)));
    state.infer(Instant(179_999), false);
    assert_eq!(state.conclude(Instant(179_999)).counts.in_progress, 1);
    state.infer(Instant(180_000), false);
    let end = state.conclude(Instant(180_000)).clone();
    assert_eq!((end.counts.timeout, end.counts.success, end.state), (1, 2, State::Partial));
    assert_eq!(state.due(), None);
    // It was only slow: the counts and the state say so, the end stays.
    state.report(&reported(&[1], ReportStatus::Success, 200_000));
    let late = state.conclude(Instant(200_000));
    assert_eq!((late.counts.success, late.state, late.ended), (3, State::Succeeded, end.ended));
}

#[test]
fn a_start_after_expiry_still_times_out() {
    let mut state = task(&[1, 2]);
    state.page(&commanded(&[1, 2]));
    assert_eq!(state.due(), Some(Instant(UNTIL + 60_000)));
    state.report(&reported(&[2], ReportStatus::InProgress, UNTIL));
    state.infer(Instant(UNTIL), true);
    assert_eq!(state.conclude(Instant(UNTIL)).counts.expired, 1, "2 has started and runs");
    state.report(&reported(&[1], ReportStatus::InProgress, UNTIL));
    let due = state.due().unwrap();
    state.infer(due, false);
    let end = state.conclude(due);
    assert_eq!((end.counts.timeout, end.counts.expired, end.state), (2, 0, State::Failed));
}

#[test]
fn who_is_decided_too_late_expires() {
    let mut state = task(&[1]);
    state.infer(Instant(0), true);
    assert_eq!(state.conclude(Instant(1)).ended, None, "nobody has decided about it");
    state.stopped(&stop(StopKind::Expired), None, false);
    let end = state.conclude(Instant(2));
    assert_eq!((end.state, end.counts.expired, end.ended), (State::Expired, 1, Some(Instant(2))));
    let mut unplanned = TaskState::new(summary());
    unplanned.stopped(&stop(StopKind::Expired), None, false);
    assert_eq!(unplanned.conclude(Instant(2)).state, State::Expired);
}

#[test]
fn a_stop_cancels_whom_no_page_has_decided_and_of_edges_who_has_not_started() {
    let mut level = task(&[1, 2, 3, 4]);
    level.page(&commanded(&[1, 2]));
    level.stopped(&stop(StopKind::Cancelled), Some(2), false);
    let open = level.conclude(Instant(1));
    assert_eq!((open.state, open.counts.cancelled, open.counts.pending), (State::Stopping, 2, 2));
    level.report(&reported(&[1, 2], ReportStatus::Success, 0));
    assert_eq!(level.conclude(Instant(2)).state, State::Cancelled);

    let mut edge = task(&[1, 2, 3, 4]);
    edge.report(&reported(&[1], ReportStatus::InProgress, 0));
    edge.stopped(&stop(StopKind::Parked), Some(3), true);
    let open = edge.conclude(Instant(1));
    assert_eq!((open.state, open.counts.cancelled, open.counts.in_progress), (State::Stopping, 3, 1));
    edge.report(&reported(&[1], ReportStatus::Failure, 0));
    assert_eq!(edge.conclude(Instant(2)).state, State::Failed);

    let mut ended = task(&[1]);
    ended.page(&commanded(&[1]));
    ended.report(&reported(&[1], ReportStatus::Success, 0));
    assert_eq!(ended.conclude(Instant(1)).state, State::Succeeded);
    ended.stopped(&stop(StopKind::Cancelled), Some(1), false);
    assert_eq!((ended.conclude(Instant(2)).state, &ended.conclude(Instant(2)).stop), (State::Succeeded, &None));
    ended.stopped(&stop(StopKind::Parked), Some(1), false);
    assert_eq!(ended.conclude(Instant(2)).state, State::Failed);

    let mut early = TaskState::new(summary());
    early.stopped(&stop(StopKind::Cancelled), None, false);
    let end = early.conclude(Instant(1));
    assert_eq!((end.state, end.recipients, end.ended), (State::Cancelled, Some(0), Some(Instant(1))));
}
