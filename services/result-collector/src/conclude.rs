//! What the summary says, given the facts: state, counts and end.

use muster_core::instant::Instant;
use muster_core::problem::Problem;
use muster_core::status::{Counts, State};
use muster_core::summary::{StopKind, Summary};

use crate::state::TaskState;

impl TaskState {
    /// The plan refused the task: it has ended.
    pub fn refused(&mut self, errors: &[Problem], now: Instant) {
        if self.ends_with_plan(State::Rejected, now) {
            self.summary.errors = errors.to_vec();
        }
    }

    /// The plan found nothing to do: it has ended, 0 of 0.
    pub fn nothing(&mut self, reason: &str, now: Instant) {
        if self.ends_with_plan(State::Succeeded, now) {
            self.summary.message = Some(reason.to_owned());
        }
    }

    fn ends_with_plan(&mut self, state: State, now: Instant) -> bool {
        if self.known || self.summary.ended.is_some() {
            return false;
        }
        self.summary.state = state;
        self.summary.recipients = Some(0);
        self.summary.ended = Some(now);
        true
    }

    /// Brings the summary up to the facts. A task ends once; what becomes known later amends counts and state, and
    /// not the time of the end.
    pub fn conclude(&mut self, now: Instant) -> &Summary {
        if !self.known {
            // Nothing is frozen: it is pending, or ended with its plan.
            return &self.summary;
        }
        let (mut counts, mut decided) = (Counts::default(), true);
        for part in self.parts.values_mut() {
            let tally = part.tally();
            counts = sum(counts, tally.counts);
            decided &= tally.decided;
        }
        let summary = &mut self.summary;
        summary.counts = counts;
        summary.recipients = Some(counts.total());
        let decided = decided && (counts.total() > 0 || self.told);
        let complete = (decided || summary.stop.is_some()) && counts.ended() == counts.total();
        if complete {
            summary.ended.get_or_insert(now);
        }
        summary.state = match (&summary.ended, summary.stop.as_ref().map(|stop| stop.kind)) {
            (None, None) => State::Running,
            (None, Some(_)) => State::Stopping,
            (Some(_), Some(StopKind::Parked | StopKind::Restored)) => State::Failed,
            (Some(_), Some(StopKind::Cancelled)) => State::Cancelled,
            // It never came to know whom it concerns.
            (Some(_), Some(StopKind::Expired)) if counts.total() == 0 => State::Expired,
            (Some(_), None | Some(StopKind::Expired)) => State::from_counts(&counts),
        };
        summary
    }
}

fn sum(a: Counts, b: Counts) -> Counts {
    Counts {
        pending: a.pending + b.pending,
        in_progress: a.in_progress + b.in_progress,
        success: a.success + b.success,
        failure: a.failure + b.failure,
        skipped: a.skipped + b.skipped,
        timeout: a.timeout + b.timeout,
        expired: a.expired + b.expired,
        cancelled: a.cancelled + b.cancelled,
        superseded: a.superseded + b.superseded,
        gone: a.gone + b.gone,
    }
}
