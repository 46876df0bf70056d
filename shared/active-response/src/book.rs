//! What is in force, and when it is undone: decisions without a disk, a clock or a process. Each yields changes that are
//! written first and then applied.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_core::instant::Instant;
use muster_core::names::digest;
use serde::{Deserialize, Serialize};

use crate::message::Answer;
use crate::report::Fault;

/// At most this many orders run or wait for their undo at a time.
pub const MAX_STANDING: usize = 4096;
/// An undo that fails is tried so often, at growing intervals: a minute, two, four, ... at most an hour.
pub const MAX_UNDO_ATTEMPTS: u32 = 8;
/// So many repeated offenders are remembered; then those that were not seen for the longest time are forgotten.
const MAX_OFFENDERS: usize = 4096;

/// One order that runs, is in force, or waits for its undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The response's name.
    pub response: String,
    /// What it acts on, when that is known.
    pub keys: Option<Vec<String>>,
    /// How far it is.
    pub phase: Phase,
    /// How many seconds it lasts; it is never due later than so long from now, whatever clocks do.
    pub lasts: u64,
    /// When it is undone; `None` when there is nothing to undo.
    pub due: Option<Instant>,
    /// How often its undo has failed.
    pub attempts: u32,
}

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Its program runs, or did when the agent was killed.
    Begun,
    /// Its program ended with 0.
    Standing,
    /// Its program failed, and may have had a part of its effect.
    Failed,
}

/// Somebody against whom a response was repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offender {
    /// How often, the first time not counted.
    pub repeated: u32,
    /// When last.
    pub seen: Instant,
}

/// A row that is written, or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// An order.
    Entry(String, Option<Entry>),
    /// An offender, by the digest of the response and the keys.
    Offender(String, Option<Offender>),
}

/// All orders and offenders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Book {
    entries: BTreeMap<String, Entry>,
    offenders: BTreeMap<String, Offender>,
}

/// What a new order is about.
#[derive(Debug, Clone)]
pub(crate) struct New<'a> {
    /// The order.
    pub order: &'a str,
    /// The response's name.
    pub response: &'a str,
    /// The keys that the configuration names, if it does.
    pub keys: Option<Vec<String>>,
    /// How long it lasts before it is undone; `None` when it is not.
    pub lasts: Option<Duration>,
    /// How many minutes it lasts when it is repeated, the next time and the times after it.
    pub repeated_offenders: &'a [u32],
}

/// What becomes of a new order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It is run.
    Run(Vec<Change>),
    /// The same is in force already, until then.
    InForce(Instant, Vec<Change>),
}

impl Book {
    /// Makes a change that is on disk.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Entry(order, Some(entry)) => drop(self.entries.insert(order, entry)),
            Change::Entry(order, None) => drop(self.entries.remove(&order)),
            Change::Offender(key, Some(offender)) => drop(self.offenders.insert(key, offender)),
            Change::Offender(key, None) => drop(self.offenders.remove(&key)),
        }
    }

    pub(crate) fn entry(&self, order: &str) -> Option<&Entry> {
        self.entries.get(order)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.iter()
    }

    /// Takes in an order. The undo is part of the changes, so that it is on disk before the program runs.
    ///
    /// # Errors
    /// [`Fault::Known`] and [`Fault::TooMany`].
    pub(crate) fn begin(&self, new: &New<'_>, now: Instant) -> Result<Begin, Fault> {
        if self.entries.contains_key(new.order) {
            return Err(Fault::Known);
        }
        let mut lasts = new.lasts;
        let mut changes = Vec::new();
        if let (Some(keys), Some(usual)) = (&new.keys, new.lasts) {
            let (longer, mut counted) = self.offends(new.response, keys, usual, new.repeated_offenders, now);
            if let Some((until, extended)) = self.extend(new.response, keys, longer, now) {
                counted.extend(extended);
                return Ok(Begin::InForce(until, counted));
            }
            lasts = Some(longer);
            changes = counted;
            changes.extend(self.replaces(new.response, keys));
        }
        if self.entries.len() >= MAX_STANDING {
            return Err(Fault::TooMany(MAX_STANDING));
        }
        let entry = Entry {
            response: new.response.to_owned(),
            keys: new.keys.clone().filter(|_| lasts.is_some()),
            phase: Phase::Begun,
            lasts: lasts.map_or(0, |lasts| lasts.as_secs()),
            due: lasts.map(|lasts| now.plus(lasts)),
            attempts: 0,
        };
        changes.push(Change::Entry(new.order.to_owned(), Some(entry)));
        Ok(Begin::Run(changes))
    }

    /// What a program that asks for `keys` is answered. What it acts on is known from now on; told to abort, it has
    /// nothing to undo, and what is in force lasts longer, until the instant named.
    pub(crate) fn ask(&self, new: &New<'_>, keys: &[String], now: Instant) -> (Answer, Option<Instant>, Vec<Change>) {
        let (Some(entry), Some(usual)) = (self.entries.get(new.order), new.lasts) else {
            return (Answer::Continue, None, Vec::new());
        };
        // The configuration named the same, so all was looked at when the order began.
        if entry.keys.as_deref() == Some(keys) {
            return (Answer::Continue, None, Vec::new());
        }
        let (lasts, mut changes) = self.offends(new.response, keys, usual, new.repeated_offenders, now);
        if let Some((until, extended)) = self.extend(new.response, keys, lasts, now) {
            changes.extend(extended);
            changes.extend(self.aborts(new.order));
            return (Answer::Abort, Some(until), changes);
        }
        changes.extend(self.replaces(new.response, keys));
        let known =
            Entry { keys: Some(keys.to_vec()), lasts: lasts.as_secs(), due: Some(now.plus(lasts)), ..entry.clone() };
        changes.push(Change::Entry(new.order.to_owned(), Some(known)));
        (Answer::Continue, None, changes)
    }

    /// A program that is told to abort has nothing to undo.
    pub(crate) fn aborts(&self, order: &str) -> Option<Change> {
        let entry = self.entries.get(order)?;
        Some(Change::Entry(order.to_owned(), Some(Entry { due: None, keys: None, ..entry.clone() })))
    }

    /// The program has ended, or could not be told of its end. What failed waits for its undo too.
    pub(crate) fn ended(&self, order: &str, success: bool) -> Option<Change> {
        let entry = self.entries.get(order)?;
        let phase = if success { Phase::Standing } else { Phase::Failed };
        let left = entry.due.map(|_| Entry { phase, ..entry.clone() });
        Some(Change::Entry(order.to_owned(), left))
    }

    /// The orders whose undo is due.
    pub(crate) fn due(&self, now: Instant) -> Vec<String> {
        let mut due: Vec<_> = self.waiting().filter(|(at, _)| *at <= now).collect();
        due.sort();
        due.into_iter().map(|(_, order)| order.clone()).collect()
    }

    /// When the next undo is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting().map(|(at, _)| at).min()
    }

    fn waiting(&self) -> impl Iterator<Item = (Instant, &String)> {
        let ended = self.entries.iter().filter(|(_, entry)| entry.phase != Phase::Begun);
        ended.filter_map(|(order, entry)| Some((entry.due?, order)))
    }

    /// An undo has ended. When it failed it is tried again at the instant named, unless that was the last time.
    pub(crate) fn undone(&self, order: &str, success: bool, now: Instant) -> Option<(Option<Instant>, Change)> {
        let entry = self.entries.get(order)?;
        let attempts = entry.attempts + 1;
        if success || attempts >= MAX_UNDO_ATTEMPTS {
            return Some((None, Change::Entry(order.to_owned(), None)));
        }
        let pause = (60 << (attempts - 1)).min(3600);
        let again = now.plus(Duration::from_secs(pause));
        let lasts = entry.lasts.max(pause);
        // What is being undone is in force no more.
        let left = Entry { attempts, due: Some(again), phase: Phase::Failed, lasts, ..entry.clone() };
        Some((Some(again), Change::Entry(order.to_owned(), Some(left))))
    }

    /// Brings back undos that lie further ahead than their response lasts: the clock was set back since.
    pub(crate) fn brought_back(&self, now: Instant) -> Vec<Change> {
        let latest = |entry: &Entry| now.plus(Duration::from_secs(entry.lasts));
        let ahead = self.entries.iter().filter(|(_, entry)| entry.due.is_some_and(|due| due > latest(entry)));
        ahead
            .map(|(order, entry)| {
                Change::Entry(order.clone(), Some(Entry { due: Some(latest(entry)), ..entry.clone() }))
            })
            .collect()
    }

    /// The same keys of the same response start their time again; it is never cut short.
    fn extend(&self, response: &str, keys: &[String], lasts: Duration, now: Instant) -> Option<(Instant, Vec<Change>)> {
        let (order, entry) =
            self.same(response, keys).find(|(_, entry)| entry.phase == Phase::Standing && entry.due.is_some())?;
        let until = entry.due.map_or(now, |due| due.max(now.plus(lasts)));
        let lasts = entry.lasts.max(lasts.as_secs());
        let longer = Entry { due: Some(until), lasts, ..entry.clone() };
        Some((until, vec![Change::Entry(order.clone(), Some(longer))]))
    }

    /// What failed with the same keys need not be undone: the order that comes now will be, and later.
    fn replaces(&self, response: &str, keys: &[String]) -> Vec<Change> {
        let failed = self.same(response, keys).filter(|(_, entry)| entry.phase == Phase::Failed);
        failed.map(|(order, _)| Change::Entry(order.clone(), None)).collect()
    }

    fn same<'a>(&'a self, response: &'a str, keys: &'a [String]) -> impl Iterator<Item = (&'a String, &'a Entry)> {
        let of = move |entry: &Entry| entry.response == response && entry.keys.as_deref() == Some(keys);
        self.entries.iter().filter(move |(_, entry)| of(entry))
    }

    /// How long a response lasts against these keys: as usual the first time, then as many minutes as the list says, the
    /// last of them for ever after. As in 4.x a repetition counts whether or not the first is in force still.
    fn offends(
        &self,
        response: &str,
        keys: &[String],
        usual: Duration,
        minutes: &[u32],
        now: Instant,
    ) -> (Duration, Vec<Change>) {
        let Some(last) = minutes.len().checked_sub(1) else { return (usual, Vec::new()) };
        // A list of texts can always be written.
        let key = digest(serde_json::to_string(&(response, keys)).unwrap_or_default().as_bytes());
        let Some(before) = self.offenders.get(&key) else {
            let mut changes = vec![Change::Offender(key, Some(Offender { repeated: 0, seen: now }))];
            if self.offenders.len() >= MAX_OFFENDERS {
                let oldest = self.offenders.iter().min_by_key(|(_, offender)| offender.seen);
                changes.extend(oldest.map(|(key, _)| Change::Offender(key.clone(), None)));
            }
            return (usual, changes);
        };
        let at = usize::try_from(before.repeated).unwrap_or(last).min(last);
        let lasts = minutes.get(at).map_or(usual, |minutes| Duration::from_secs(u64::from(*minutes) * 60));
        let again = Offender { repeated: before.repeated.saturating_add(1), seen: now };
        (lasts, vec![Change::Offender(key, Some(again))])
    }
}

#[cfg(test)]
mod tests;
