//! A stream: its messages by place and by subject, and what the settings let be stored.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use muster_core::instant::Instant;

use super::filter::{covers, prefix};
use super::settings::StreamSettings;
use crate::{Entry, Fault, MAX_BATCH, Write};

/// The server's limit for any message, in bytes.
const MAX_PAYLOAD: usize = 1024 * 1024;
const SCHEDULE: &str = "Nats-Schedule";
const TARGET: &str = "Nats-Schedule-Target";

#[derive(Clone)]
pub struct Stream {
    settings: StreamSettings,
    messages: BTreeMap<u64, Message>,
    by_subject: BTreeMap<String, VecDeque<u64>>,
    /// When lives end.
    ends: BTreeSet<(Instant, u64)>,
    /// When schedules are due.
    due: BTreeSet<(Instant, u64)>,
    last: u64,
}

/// A stored message.
#[derive(Clone)]
pub struct Message {
    pub subject: String,
    pub headers: Vec<(String, String)>,
    /// None for the marker of a deleted key.
    pub body: Option<Bytes>,
    pub at: Instant,
    ends: Option<Instant>,
    due: Option<Instant>,
}

impl Stream {
    pub fn new(settings: StreamSettings) -> Self {
        Self {
            settings,
            messages: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            ends: BTreeSet::new(),
            due: BTreeSet::new(),
            last: 0,
        }
    }

    pub fn message(&self, place: u64) -> Option<&Message> {
        self.messages.get(&place)
    }

    /// The places behind `after`, rising.
    pub fn behind(&self, after: u64) -> impl Iterator<Item = (u64, &Message)> {
        self.messages.range((Bound::Excluded(after), Bound::Unbounded)).map(|(place, message)| (*place, message))
    }

    /// All messages, in order.
    pub fn all(&self) -> impl Iterator<Item = Entry> {
        self.messages.iter().map(|(place, message)| Entry {
            subject: message.subject.clone(),
            revision: *place,
            body: message.body.clone(),
            at: message.at,
        })
    }

    /// The newest message of a subject.
    pub fn newest(&self, subject: &str) -> Option<Entry> {
        let place = *self.by_subject.get(subject)?.back()?;
        let message = self.messages.get(&place)?;
        Some(Entry { subject: subject.to_owned(), revision: place, body: message.body.clone(), at: message.at })
    }

    /// The subjects that a filter covers, in order.
    pub fn subjects<'a>(&'a self, filter: &'a str) -> impl Iterator<Item = &'a str> {
        let start = prefix(filter);
        let from = self.by_subject.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        from.map(|(subject, _)| subject.as_str())
            .take_while(move |subject| subject.starts_with(start))
            .filter(move |subject| covers(filter, subject))
    }

    /// Removes the messages of the subjects that a filter covers.
    pub fn purge(&mut self, filter: &str) {
        let places: Vec<u64> =
            self.subjects(filter).filter_map(|s| self.by_subject.get(s)).flatten().copied().collect();
        places.into_iter().for_each(|place| self.remove(place));
    }

    /// Removes what has lived its life.
    pub fn expire(&mut self, now: Instant) {
        while let Some((at, place)) = self.ends.first().copied()
            && at <= now
        {
            self.remove(place);
        }
    }

    /// Publishes what is due by schedules; true when something was.
    pub fn fire(&mut self, now: Instant) -> bool {
        let mut fired = false;
        while let Some((at, place)) = self.due.first().copied()
            && at <= now
        {
            let Some(message) = self.messages.get(&place) else { break };
            let target = message.headers.iter().find(|(name, _)| name == TARGET).map(|(_, target)| target.clone());
            let body = message.body.clone();
            self.remove(place);
            if let Some(target) = target {
                let write = Write { body, ..Write::new(target, Bytes::new()) };
                fired |= self.store(write, now).is_ok();
            }
        }
        fired
    }

    /// When [`Stream::fire`] has something to do next.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Stores all or nothing, and gives the last place.
    pub fn commit(&mut self, writes: Vec<Write>, now: Instant) -> Result<u64, Fault> {
        match writes.len() {
            0 => return Err(Fault::Refused("a batch of nothing".into())),
            n if n > MAX_BATCH => return Err(Fault::Refused(format!("a batch of {n} messages"))),
            n if n > 1 && !self.settings.allow_atomic => {
                return Err(Fault::Refused(format!("{} takes no batches", self.settings.name)));
            }
            _ => {}
        }
        writes.iter().try_for_each(|write| self.fits(write))?;
        let written: HashSet<&str> = writes.iter().map(|write| write.subject.as_str()).collect();
        let mut seen = HashSet::new();
        for write in &writes {
            let again = !seen.insert(write.subject.as_str());
            let (subject, revision) = match (&write.check, write.expect) {
                // The server refuses to check what the same batch writes.
                (Some((subject, _)), _) if written.contains(subject.as_str()) => return Err(Fault::Conflict),
                (Some((subject, revision)), _) => (subject.as_str(), *revision),
                (None, Some(_)) if again => return Err(Fault::Conflict),
                (None, Some(revision)) => (write.subject.as_str(), revision),
                (None, None) => continue,
            };
            if self.place(subject) != revision {
                return Err(Fault::Conflict);
            }
        }
        if self.settings.discard_new_per_subject {
            let mut added: BTreeMap<&str, usize> = BTreeMap::new();
            for write in &writes {
                let count = added.entry(&write.subject).or_default();
                *count += 1;
                if self.by_subject.get(&write.subject).map_or(0, VecDeque::len) + *count
                    > self.settings.max_msgs_per_subject
                {
                    return Err(Fault::Exists);
                }
            }
        }
        writes.into_iter().try_for_each(|write| self.store(write, now))?;
        Ok(self.last)
    }

    fn place(&self, subject: &str) -> u64 {
        self.by_subject.get(subject).and_then(|places| places.back()).copied().unwrap_or(0)
    }

    /// Whether a message may be stored here at all.
    fn fits(&self, write: &Write) -> Result<(), Fault> {
        let StreamSettings { name, subjects, max_msg_size, .. } = &self.settings;
        if !subjects.iter().any(|filter| covers(filter, &write.subject)) {
            return Err(Fault::Refused(format!("{} does not belong to {name}", write.subject)));
        }
        if write.expect.is_some() && write.check.is_some() {
            return Err(Fault::Refused(format!("{}: a message carries one expectation", write.subject)));
        }
        if write.ttl.is_some() && !self.settings.allow_msg_ttl {
            return Err(Fault::Refused(format!("{name} has no lives of messages")));
        }
        let headers: usize = write.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let size = write.body.as_ref().map_or(0, Bytes::len) + headers;
        if size > MAX_PAYLOAD || (*max_msg_size > 0 && size > *max_msg_size) {
            return Err(Fault::Refused(format!("{}: {size} bytes", write.subject)));
        }
        self.due_at(write).map(drop)
    }

    /// When a schedule is due; none for a message that is none.
    fn due_at(&self, write: &Write) -> Result<Option<Instant>, Fault> {
        let Some((_, text)) = write.headers.iter().find(|(name, _)| name == SCHEDULE) else { return Ok(None) };
        let at = text.strip_prefix("@at ").and_then(Instant::parse).filter(|_| self.settings.allow_msg_schedules);
        at.map(Some).ok_or_else(|| Fault::Refused(format!("{}: the schedule '{text}'", write.subject)))
    }

    fn store(&mut self, write: Write, now: Instant) -> Result<(), Fault> {
        let due = self.due_at(&write)?;
        let lives = [write.ttl, self.settings.max_age].into_iter().flatten().min();
        let ends = lives.map(|life| now.plus(life));
        let limit = if due.is_some() { 1 } else { self.settings.max_msgs_per_subject };
        while limit > 0
            && let Some(places) = self.by_subject.get(&write.subject)
            && places.len() >= limit
            && let Some(oldest) = places.front().copied()
        {
            self.remove(oldest);
        }
        self.last += 1;
        self.ends.extend(ends.map(|at| (at, self.last)));
        self.due.extend(due.map(|at| (at, self.last)));
        self.by_subject.entry(write.subject.clone()).or_default().push_back(self.last);
        let message = Message { subject: write.subject, headers: write.headers, body: write.body, at: now, ends, due };
        self.messages.insert(self.last, message);
        Ok(())
    }

    fn remove(&mut self, place: u64) {
        let Some(message) = self.messages.remove(&place) else { return };
        message.ends.map(|at| self.ends.remove(&(at, place)));
        message.due.map(|at| self.due.remove(&(at, place)));
        if let Some(places) = self.by_subject.get_mut(&message.subject) {
            places.retain(|of| *of != place);
            if places.is_empty() {
                self.by_subject.remove(&message.subject);
            }
        }
    }
}
