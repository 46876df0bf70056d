//! What a message does to the facts of one task, without I/O and clock.
//!
//! Reports and pages add facts as they are, in any order and any number of times. What is inferred (superseded,
//! cancelled by a stop, expired, timed out) goes only to recipients without an end. Once the recipients are known, nobody
//! else gets a fact. Before that a report of anybody is kept: an agent may take a task's state with the list of its
//! groups, and so be done before the recipients are frozen. Who then turns out to be no recipient is not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_core::chain::Page;
use muster_core::instant::Instant;
use muster_core::message::ReportStatus;
use muster_core::numbers::Numbers;
use muster_core::status::{Counts, Facts, Mark, Status};
use muster_core::summary::{Stop, StopKind, Summary};

/// `expired` is inferred this long after `deliver_until`, for starts that are on their way.
const GRACE: Duration = Duration::from_secs(60);

/// A report of one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub number: u32,
    /// What it said.
    pub status: ReportStatus,
    /// When the server stored what it said.
    pub at: Instant,
}

/// Everything that is known about one task.
#[derive(Debug, Clone)]
pub struct TaskState {
    /// The summary; [`TaskState::conclude`] brings it up to the facts.
    pub(crate) summary: Summary,
    /// Whether all recipients are known.
    pub(crate) known: bool,
    /// Whether the last page was told: where there are no recipients, nothing else says that all is done. (The last
    /// change of a saga is made before that.) It is not stored, since the end that it means is stored with it.
    pub(crate) told: bool,
    pub(crate) parts: BTreeMap<u16, Part>,
}

/// The recipients of one container and the facts about them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part {
    recipients: Numbers,
    facts: Facts,
    /// The facts that grew since they were stored.
    grown: BTreeSet<Mark>,
    /// The sizes of the partition, and who could still time out; none when facts or recipients grew meanwhile.
    tally: Option<Tally>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    pub(crate) decided: bool,
    /// Who has no end, or only `expired`: a start that arrived late still times out.
    waiting: Numbers,
}

impl TaskState {
    /// A task of which only the summary is known.
    pub fn new(summary: Summary) -> Self {
        // A task that was stopped before it had recipients has none.
        let known = summary.stop.is_some();
        Self { summary, known, told: false, parts: BTreeMap::new() }
    }

    /// Whether it is known who the recipients are.
    pub const fn knows_recipients(&self) -> bool {
        self.known
    }

    /// Takes over a set that is stored already.
    pub fn restore(&mut self, mark: Mark, container: u16, numbers: &Numbers) {
        let part = self.parts.entry(container).or_default();
        part.facts.add(mark, numbers);
        part.tally = None;
    }

    /// Says who the recipients are; they can only become more.
    pub fn freeze(&mut self, parts: impl IntoIterator<Item = (u16, Numbers)>) {
        self.known = true;
        for (container, numbers) in parts {
            let part = self.parts.entry(container).or_default();
            part.recipients.union_with(&numbers);
            part.tally = None;
        }
    }

    /// Takes in reports; true when some came from others than recipients and were left out. Of a task that ended
    /// without recipients nothing is taken in.
    pub fn report(&mut self, reports: &[Report]) -> bool {
        let early = !self.known && self.summary.ended.is_none();
        let slice = self.slice();
        // The order in which they are grouped: container, mark, number. A slice of time is never so late that it
        // meets the two codes above it.
        let mut keyed: Vec<(u16, u64, u32)> = reports
            .iter()
            .map(|report| {
                let mark = match report.status {
                    ReportStatus::Success => u64::MAX,
                    ReportStatus::Failure => u64::MAX - 1,
                    ReportStatus::InProgress => u64::try_from(report.at.0).unwrap_or(0) / slice,
                };
                (Numbers::container(report.number), mark, report.number)
            })
            .collect();
        keyed.sort_unstable();
        let mut strangers = false;
        for group in keyed.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let Some(&(container, code, _)) = group.first() else { continue };
            let mark = match code {
                u64::MAX => Mark::of(Status::Success),
                code if code == u64::MAX - 1 => Mark::of(Status::Failure),
                slice => Mark::Started(slice),
            };
            let numbers: Numbers = group.iter().map(|(.., number)| *number).collect();
            if early {
                self.parts.entry(container).or_default().keep(mark, &numbers);
            } else {
                let known = self.parts.get_mut(&container).is_some_and(|part| part.add(mark, &numbers));
                strangers |= !known;
            }
        }
        strangers
    }

    /// Takes in what a page has decided.
    pub fn page(&mut self, page: &Page) {
        self.told |= page.last;
        self.add(&Mark::Decided, &page.decided());
        for (reason, numbers) in &page.skipped {
            self.add(&Mark::because(Status::Skipped, reason), numbers);
        }
        for (by, numbers) in &page.superseded {
            self.add(&Mark::because(Status::Superseded, by), numbers);
        }
        self.add(&Mark::of(Status::Gone), &page.gone);
    }

    /// What is inferred about `numbers` goes to the unfinished of them.
    pub fn unfinished_are(&mut self, mark: &Mark, numbers: &Numbers) {
        for (container, numbers) in numbers.split() {
            if let Some(part) = self.parts.get_mut(&container) {
                let open = part.unfinished().and(&numbers);
                part.add(mark.clone(), &open);
            }
        }
    }

    /// The chain ends behind `after`: who comes later is cancelled (expired, when that is why it ends), and with `edge`
    /// everyone who has not started.
    ///
    /// A cancel that finds the task ended and cancels nobody is none.
    pub fn stopped(&mut self, stop: &Stop, after: Option<u32>, edge: bool) {
        if self.summary.ended.is_some() && !self.known {
            return;
        }
        // A chain that was stopped before it had recipients has none.
        self.known = true;
        let missed = Mark::of(if stop.kind == StopKind::Expired { Status::Expired } else { Status::Cancelled });
        let mut effective = matches!(stop.kind, StopKind::Parked | StopKind::Restored);
        for part in self.parts.values_mut() {
            let rest: Numbers = part.recipients.after(after).collect();
            part.add(Mark::Decided, &rest);
            let open = part.unfinished();
            let unreached = if edge { open.minus(&part.facts.started()) } else { open.and(&rest) };
            part.add(missed.clone(), &unreached);
            effective |= !part.facts.get(&missed).is_empty();
        }
        if self.summary.ended.is_none() || effective {
            self.summary.stop.get_or_insert_with(|| stop.clone());
        }
    }

    /// What follows from the time: slices of starts that have run out, and with `expired`, or a minute after
    /// `deliver_until`, who has not started.
    pub fn infer(&mut self, now: Instant, expired: bool) {
        let expired = expired || self.expiry() <= now;
        let (slice, timeout) = (self.slice(), self.timeout());
        for part in self.parts.values_mut() {
            if expired {
                let unstarted = part.unfinished().minus(&part.facts.started());
                part.add(Mark::of(Status::Expired), &unstarted);
            }
            let waiting = part.tally().waiting.clone();
            let late: Vec<Numbers> =
                part.slices().filter(|(n, _)| end(*n, slice, timeout) <= now).map(|(_, n)| n.and(&waiting)).collect();
            for numbers in late {
                part.add(Mark::of(Status::Timeout), &numbers);
            }
        }
    }

    /// When [`TaskState::infer`] will next find something, if nothing else happens.
    pub fn due(&mut self) -> Option<Instant> {
        let (slice, timeout, expiry) = (self.slice(), self.timeout(), self.expiry());
        let mut due: Option<Instant> = None;
        for part in self.parts.values_mut() {
            let Tally { counts, waiting, .. } = part.tally().clone();
            let running = part.slices().filter(|(_, numbers)| numbers.common(&waiting) > 0);
            let next = running.map(|(n, _)| end(n, slice, timeout)).chain((counts.pending > 0).then_some(expiry)).min();
            due = [due, next].into_iter().flatten().min();
        }
        due
    }

    /// The sets that grew since the last call, as they are to be stored: mark, container, value.
    pub fn grown(&mut self) -> Vec<(Mark, u16, Vec<u8>)> {
        let mut out = Vec::new();
        for (container, part) in &mut self.parts {
            for mark in std::mem::take(&mut part.grown) {
                let value = part.facts.get(&mark).encode();
                out.push((mark, *container, value));
            }
        }
        out
    }

    fn add(&mut self, mark: &Mark, numbers: &Numbers) {
        for (container, numbers) in numbers.split() {
            if let Some(part) = self.parts.get_mut(&container) {
                part.add(mark.clone(), &numbers);
            }
        }
    }

    /// The length of a slice of starts in milliseconds.
    fn slice(&self) -> u64 {
        (self.summary.timeout.saturating_mul(1000) / 16).max(1000)
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.summary.timeout)
    }

    fn expiry(&self) -> Instant {
        self.summary.deliver_until.plus(GRACE)
    }
}

/// When the starts of a slice have run out.
fn end(n: u64, slice: u64, timeout: Duration) -> Instant {
    Instant(0).plus(Duration::from_millis(n.saturating_add(1).saturating_mul(slice))).plus(timeout)
}

impl Part {
    /// Adds the recipients among `numbers` to a fact; false when others were among them.
    fn add(&mut self, mark: Mark, numbers: &Numbers) -> bool {
        let mine = numbers.and(&self.recipients);
        self.keep(mark, &mine);
        mine.len() == numbers.len()
    }

    /// Adds numbers to a fact, whoever they are.
    fn keep(&mut self, mark: Mark, numbers: &Numbers) {
        if self.facts.add(mark.clone(), numbers) {
            self.grown.insert(mark);
            self.tally = None;
        }
    }

    fn unfinished(&self) -> Numbers {
        self.facts.unfinished(&self.recipients)
    }

    fn slices(&self) -> impl Iterator<Item = (u64, &Numbers)> {
        self.facts.iter().filter_map(|(mark, numbers)| match mark {
            Mark::Started(slice) => Some((*slice, numbers)),
            _ => None,
        })
    }

    pub(crate) fn tally(&mut self) -> &Tally {
        let Self { recipients, facts, tally, .. } = self;
        tally.get_or_insert_with(|| {
            let mut partition = facts.partition(recipients);
            let counts = Counts::of(&partition);
            let mut waiting = partition.remove(&Status::InProgress).unwrap_or_default();
            waiting.union_with(&partition.remove(&Status::Expired).unwrap_or_default());
            let decided = facts.get(&Mark::Decided).common(recipients) == recipients.len();
            Tally { counts, decided, waiting }
        })
    }
}
