//! Facts about a task's recipients, and the status computed from them.
//!
//! Facts are sets that only grow, so merging them is commutative, associative and idempotent. A recipient's status is
//! the highest that any set gives it, so what an agent reported is never hidden by what was inferred about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{escape, unescape};
use crate::numbers::Numbers;

/// The status of one recipient, in the order in which one hides another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing is known yet.
    Pending,
    /// It said that it started.
    InProgress,
    /// No start was known by `deliver_until`.
    Expired,
    /// It started and did not finish in `timeout` seconds.
    Timeout,
    /// A newer task took its place.
    Superseded,
    /// The task was stopped before this recipient's turn.
    Cancelled,
    /// The recipient was deleted.
    Gone,
    /// Its page decided that there is nothing to do.
    Skipped,
    /// It reported that it failed.
    Failure,
    /// It reported that it is done.
    Success,
}

impl Status {
    /// All, from the lowest to the highest.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::InProgress,
        Self::Expired,
        Self::Timeout,
        Self::Superseded,
        Self::Cancelled,
        Self::Gone,
        Self::Skipped,
        Self::Failure,
        Self::Success,
    ];

    /// Whether it is an end, though a later report may still raise it.
    pub fn is_final(self) -> bool {
        self > Self::InProgress
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Expired => "expired",
            Self::Timeout => "timeout",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Gone => "gone",
            Self::Skipped => "skipped",
            Self::Failure => "failure",
            Self::Success => "success",
        }
    }
}

/// One kind of fact: the middle of a key in the bucket `sets`, `<task>.<mark>.<container>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// A page has decided about it.
    Decided,
    /// It reported a start that arrived in this slice of time.
    Started(u64),
    /// It has this status, for a reason or because of a task where there is one.
    Is(Status, Option<String>),
}

impl Mark {
    /// The mark of a status without a reason.
    pub const fn of(status: Status) -> Self {
        Self::Is(status, None)
    }

    /// The mark of a status with its reason.
    pub fn because(status: Status, reason: &str) -> Self {
        Self::Is(status, Some(reason.to_owned()))
    }

    /// The key of the mark's set for a container.
    pub fn key(&self, task: &str, container: u16) -> String {
        match self {
            Self::Decided => format!("{task}.decided.{container}"),
            Self::Started(slice) => format!("{task}.started.{slice}.{container}"),
            Self::Is(status, None) => format!("{task}.{}.{container}", status.name()),
            Self::Is(status, Some(why)) => format!("{task}.{}.{}.{container}", status.name(), escape(why)),
        }
    }

    /// The mark and the container of a key of this task; `None` for any other key.
    pub fn parse(task: &str, key: &str) -> Option<(Self, u16)> {
        let rest = key.strip_prefix(task)?.strip_prefix('.')?;
        let (mark, container) = rest.rsplit_once('.')?;
        let mark = match mark.split_once('.') {
            None if mark == "decided" => Self::Decided,
            Some(("started", slice)) => Self::Started(slice.parse().ok()?),
            None => Self::of(status(mark)?),
            Some((name, why)) => Self::Is(status(name)?, Some(unescape(why)?)),
        };
        Some((mark, container.parse().ok()?))
    }

    fn status(&self) -> Status {
        match self {
            Self::Decided => Status::Pending,
            Self::Started(_) => Status::InProgress,
            Self::Is(status, _) => *status,
        }
    }
}

fn status(name: &str) -> Option<Status> {
    Status::ALL.into_iter().find(|s| s.name() == name)
}

/// The facts of one task, whatever their order of arrival.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts(BTreeMap<Mark, Numbers>);

impl Facts {
    /// Adds numbers to a fact; true when something was new.
    pub fn add(&mut self, mark: Mark, numbers: &Numbers) -> bool {
        if numbers.is_empty() {
            return false;
        }
        let set = self.0.entry(mark).or_default();
        let before = set.len();
        set.union_with(numbers);
        set.len() > before
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mark, numbers) in &other.0 {
            self.add(mark.clone(), numbers);
        }
    }

    /// The numbers of a fact.
    pub fn get(&self, mark: &Mark) -> Numbers {
        self.0.get(mark).cloned().unwrap_or_default()
    }

    /// Every fact.
    pub fn iter(&self) -> impl Iterator<Item = (&Mark, &Numbers)> {
        self.0.iter()
    }

    /// The recipients of each status: a partition of `recipients`.
    pub fn partition(&self, recipients: &Numbers) -> BTreeMap<Status, Numbers> {
        let mut rest = recipients.clone();
        let mut out = BTreeMap::new();
        for status in Status::ALL.into_iter().rev() {
            let mut here = Numbers::new();
            for (_, numbers) in self.0.iter().filter(|(mark, _)| mark.status() == status) {
                here.union_with(numbers);
            }
            here.intersect(&rest);
            rest.subtract(&here);
            out.insert(status, here);
        }
        out.entry(Status::Pending).or_default().union_with(&rest);
        out
    }

    /// Who has reported its end.
    pub fn reported(&self) -> Numbers {
        let mut out = self.get(&Mark::of(Status::Success));
        out.union_with(&self.get(&Mark::of(Status::Failure)));
        out
    }

    /// Who has reported a start.
    pub fn started(&self) -> Numbers {
        self.0.iter().filter(|(mark, _)| matches!(mark, Mark::Started(_))).fold(
            Numbers::new(),
            |mut all, (_, numbers)| {
                all.union_with(numbers);
                all
            },
        )
    }

    /// The recipients without an end.
    pub fn unfinished(&self, recipients: &Numbers) -> Numbers {
        let mut open = Numbers::new();
        for (status, numbers) in self.partition(recipients) {
            if !status.is_final() {
                open.union_with(&numbers);
            }
        }
        open
    }
}

/// How many recipients have each status; the sum is the number of recipients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Counts {
    pub pending: u64,
    pub in_progress: u64,
    pub success: u64,
    pub failure: u64,
    pub skipped: u64,
    pub timeout: u64,
    pub expired: u64,
    pub cancelled: u64,
    pub superseded: u64,
    pub gone: u64,
}

impl Counts {
    /// The sizes of a partition.
    pub fn of(partition: &BTreeMap<Status, Numbers>) -> Self {
        let n = |status| partition.get(&status).map_or(0, Numbers::len);
        Self {
            pending: n(Status::Pending),
            in_progress: n(Status::InProgress),
            success: n(Status::Success),
            failure: n(Status::Failure),
            skipped: n(Status::Skipped),
            timeout: n(Status::Timeout),
            expired: n(Status::Expired),
            cancelled: n(Status::Cancelled),
            superseded: n(Status::Superseded),
            gone: n(Status::Gone),
        }
    }

    /// How many recipients have an end.
    pub const fn ended(&self) -> u64 {
        self.success
            + self.failure
            + self.skipped
            + self.timeout
            + self.expired
            + self.cancelled
            + self.superseded
            + self.gone
    }

    /// How many recipients there are.
    pub const fn total(&self) -> u64 {
        self.ended() + self.pending + self.in_progress
    }
}

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is decided yet.
    Pending,
    /// It is planned.
    Running,
    /// It is stopped; what was decided before goes on.
    Stopping,
    /// It was refused, and says why.
    Rejected,
    /// Nobody succeeded, or it was parked, or the server was restored.
    Failed,
    /// It was stopped.
    Cancelled,
    /// Nobody failed.
    Succeeded,
    /// It reached nobody in time.
    Expired,
    /// Some succeeded and some did not.
    Partial,
}

impl State {
    /// Whether the task has ended.
    pub fn is_end(self) -> bool {
        self > Self::Stopping
    }

    /// The end that counts give a task which was neither refused nor stopped: the first that fits.
    pub const fn from_counts(counts: &Counts) -> Self {
        if counts.failure + counts.timeout + counts.expired == 0 {
            Self::Succeeded
        } else if counts.success + counts.failure + counts.timeout == 0 {
            Self::Expired
        } else if counts.success == 0 {
            Self::Failed
        } else {
            Self::Partial
        }
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Succeeded => "succeeded",
            Self::Expired => "expired",
            Self::Partial => "partial",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn mark() -> impl Strategy<Value = Mark> {
        prop_oneof![
            Just(Mark::Decided),
            (0u64..4).prop_map(Mark::Started),
            (2usize..10, prop::option::of("[a-z.= ]{1,6}")).prop_map(|(i, why)| Mark::Is(Status::ALL[i], why)),
        ]
    }

    fn facts() -> impl Strategy<Value = Vec<(Mark, Vec<u32>)>> {
        prop::collection::vec((mark(), prop::collection::vec(0u32..40, 0..10)), 0..12)
    }

    fn merged<'a>(list: impl IntoIterator<Item = &'a (Mark, Vec<u32>)>) -> Facts {
        let mut out = Facts::default();
        for (mark, numbers) in list {
            out.add(mark.clone(), &numbers.iter().copied().collect());
        }
        out
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_idempotent(a in facts(), b in facts(), c in facts()) {
            let (fa, fb, fc) = (merged(&a), merged(&b), merged(&c));
            let join = |x: &Facts, y: &Facts| { let mut z = x.clone(); z.merge(y); z };
            prop_assert_eq!(join(&fa, &fb), join(&fb, &fa));
            prop_assert_eq!(join(&join(&fa, &fb), &fc), join(&fa, &join(&fb, &fc)));
            prop_assert_eq!(join(&fa, &fa), fa.clone());
            prop_assert_eq!(merged(a.iter().chain(&b).rev()), join(&fa, &fb));
        }

        #[test]
        fn statuses_partition_the_recipients(list in facts(), recipients in prop::collection::vec(0u32..60, 0..40)) {
            let recipients: Numbers = recipients.into_iter().collect();
            let partition = merged(&list).partition(&recipients);
            let mut seen = Numbers::new();
            for numbers in partition.values() {
                prop_assert!(seen.and(numbers).is_empty());
                seen.union_with(numbers);
            }
            prop_assert_eq!(seen, recipients.clone());
            prop_assert_eq!(Counts::of(&partition).total(), recipients.len());
        }

        #[test]
        fn a_report_is_never_hidden(list in facts(), number in 0u32..40, ok in any::<bool>()) {
            let mut facts = merged(list.iter().filter(|(m, _)| ok || m.status() != Status::Success));
            let said = if ok { Status::Success } else { Status::Failure };
            facts.add(Mark::of(said), &Numbers::from_iter([number]));
            prop_assert!(facts.partition(&Numbers::from_iter([number]))[&said].contains(number));
        }

        #[test]
        fn a_key_names_its_mark(mark in mark(), container in any::<u16>()) {
            let key = mark.key("t0-1", container);
            prop_assert_eq!(Mark::parse("t0-1", &key), Some((mark, container)));
            prop_assert_eq!(Mark::parse("t0-11", &key), None);
        }

        #[test]
        fn every_count_has_an_end(c in prop::array::uniform8(0u64..3)) {
            let counts = Counts { success: c[0], failure: c[1], skipped: c[2], timeout: c[3], expired: c[4], cancelled: c[5], superseded: c[6], gone: c[7], ..Counts::default() };
            let state = State::from_counts(&counts);
            prop_assert!(state.is_end());
            prop_assert_eq!(state == State::Succeeded, c[1] + c[3] + c[4] == 0);
            prop_assert_eq!(state == State::Partial, c[0] > 0 && c[1] + c[3] + c[4] > 0);
        }
    }

    #[test]
    fn nobody_to_reach_is_success() {
        assert_eq!(State::from_counts(&Counts::default()), State::Succeeded);
        assert_eq!(State::from_counts(&Counts { expired: 1, skipped: 3, ..Counts::default() }), State::Expired);
        assert_eq!(State::from_counts(&Counts { timeout: 1, expired: 3, ..Counts::default() }), State::Failed);
    }
}
