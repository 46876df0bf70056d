//! A task's state as it lies in the buckets: how it is read and how it is written.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};
use muster_broker::{Bus, Entry, Fault, Write, decode, encode, kv};
use muster_core::chain::{Frozen, Page, Paged, Stored, key};
use muster_core::fleet::Fleet;
use muster_core::instant::Instant;
use muster_core::numbers::Numbers;
use muster_core::status::Mark;
use muster_core::summary::Summary;

use crate::measure::Progress;
use crate::state::TaskState;

/// The bucket of the summaries.
pub const TASKS: &str = "tasks";
/// The bucket of the facts.
pub const SETS: &str = "sets";
/// At most this many keys in one batch.
const BATCH: usize = 900;
/// At most this many reads of one task at once.
const READS: usize = 64;

/// A task's state with the revisions of what is stored of it.
pub struct Loaded {
    /// The state.
    pub state: TaskState,
    stored: Summary,
    revision: u64,
    /// The revision of the recipients' head; 0 when there is none.
    head: u64,
    sets: HashMap<String, u64>,
    /// Whether facts were added that the summary does not show, because the recipients are not known: it is stored
    /// again as it is, so that its revision tells another copy of them.
    early: bool,
}

impl Loaded {
    /// Reads a task; none when it was never admitted.
    ///
    /// # Errors
    /// [`Fault::Unavailable`]; [`Fault::Refused`] when something stored cannot be read.
    pub async fn read(bus: &Bus, task: &str) -> Result<Option<Self>, Fault> {
        // The summary first: whoever stores facts after these reads writes a newer summary, and so this one's revision
        // shows that they are missing here.
        let Some((revision, body)) = get(bus, TASKS, task).await? else { return Ok(None) };
        let stored: Summary = decode(TASKS, task, &body)?;
        let mut loaded = Self {
            state: TaskState::new(stored.clone()),
            stored,
            revision,
            head: 0,
            sets: HashMap::new(),
            early: false,
        };
        loaded.read_recipients(bus).await?;
        let subjects = bus.list(&kv::stream(SETS), &kv::subject(SETS, &format!("{task}.>"))).await?;
        let keys: Vec<String> = subjects.iter().filter_map(|s| kv::key(SETS, s)).map(str::to_owned).collect();
        for (key, revision, body) in get_all(bus, SETS, keys).await? {
            let Some(body) = body else {
                loaded.sets.insert(key, revision);
                continue;
            };
            if let Some((mark, container)) = Mark::parse(task, &key) {
                loaded.state.restore(mark, container, &numbers(SETS, &key, &body)?);
                loaded.sets.insert(key, revision);
            }
        }
        Ok(Some(loaded))
    }

    /// Who the recipients are.
    pub fn fleet(&self) -> Fleet {
        self.stored.fleet()
    }

    /// Of how many recipients no end is stored; none before the recipients are known, and when all have one.
    pub fn open(&self) -> Option<u64> {
        let counts = &self.stored.counts;
        self.stored.recipients.map(|_| counts.total().saturating_sub(counts.ended())).filter(|open| *open > 0)
    }

    /// Looks who the recipients are; true when that has changed.
    ///
    /// # Errors
    /// As [`Loaded::read`].
    pub async fn read_recipients(&mut self, bus: &Bus) -> Result<bool, Fault> {
        let (task, bucket) = (&self.stored.id, self.stored.fleet().bucket());
        let name = key::recipients(task);
        let Some((revision, body)) = get(bus, bucket, &name).await? else { return Ok(false) };
        if revision == self.head {
            return Ok(false);
        }
        let head: Stored<Frozen> = decode(bucket, &name, &body)?;
        if let Frozen::Recipients { containers, .. } = head.decision {
            let keys: HashMap<String, u16> = containers.iter().map(|c| (key::container(task, *c), *c)).collect();
            let mut parts = Vec::new();
            for (key, _, body) in get_all(bus, bucket, keys.keys().cloned().collect()).await? {
                let body = body.ok_or_else(|| Fault::Refused(format!("{bucket}/{key} was deleted")))?;
                parts.push((keys.get(&key).copied().unwrap_or_default(), numbers(bucket, &key, &body)?));
            }
            if parts.len() < keys.len() {
                return Err(Fault::Unavailable(format!("recipients of {task} are not all there yet")));
            }
            self.state.freeze(parts);
        }
        self.head = revision;
        Ok(true)
    }
}

/// The decisions of pages; those that a stop took the place of, and those that are not there, are left out.
///
/// # Errors
/// As [`Loaded::read`].
pub async fn pages(bus: &Bus, fleet: Fleet, task: &str, pages: &[u32]) -> Result<Vec<Page>, Fault> {
    let (bucket, mut out) = (fleet.bucket(), Vec::new());
    for (key, _, body) in get_all(bus, bucket, pages.iter().map(|n| key::page(task, *n)).collect()).await? {
        let Some(body) = body else { continue };
        let page: Stored<Paged> = decode(bucket, &key, &body)?;
        if let Paged::Page(page) = page.decision {
            out.push(page);
        }
    }
    Ok(out)
}

/// Stores what is new about tasks: first the facts, then the summaries that say something else now.
///
/// # Errors
/// [`Fault::Conflict`] when another copy has written: read all of these tasks again. After any error what is stored is
/// not known.
pub async fn write(bus: &Bus, now: Instant, tasks: &mut [Loaded]) -> Result<(), Fault> {
    let mut sets = Vec::new();
    for (position, loaded) in tasks.iter_mut().enumerate() {
        let grown = loaded.state.grown();
        loaded.early |= !grown.is_empty() && !loaded.state.knows_recipients();
        for (mark, container, value) in grown {
            let key = mark.key(&loaded.stored.id, container);
            let revision = loaded.sets.get(&key).copied().unwrap_or(0);
            sets.push((position, Write::put(SETS, &key, value, revision), key));
        }
    }
    for chunk in sets.chunks(BATCH) {
        let last = bus.commit(&kv::stream(SETS), chunk.iter().map(|(_, write, _)| write.clone()).collect()).await?;
        for ((position, _, key), revision) in chunk.iter().zip(revisions(last, chunk.len())) {
            if let Some(loaded) = tasks.get_mut(*position) {
                loaded.sets.insert(key.clone(), revision);
            }
        }
    }
    let mut changed: Vec<(Progress, &mut Loaded)> = tasks.iter_mut().filter_map(|task| task.conclude(now)).collect();
    for chunk in changed.chunks_mut(BATCH) {
        let mut writes = Vec::with_capacity(chunk.len());
        for (_, loaded) in chunk.iter() {
            writes.push(Write::put(TASKS, &loaded.stored.id, encode(&loaded.stored)?, loaded.revision));
        }
        let last = bus.commit(&kv::stream(TASKS), writes).await?;
        let places = revisions(last, chunk.len());
        for ((before, loaded), revision) in chunk.iter_mut().zip(places) {
            loaded.revision = revision;
            before.to(&loaded.stored, now);
        }
    }
    Ok(())
}

impl Loaded {
    /// Takes the new summary, and says how far the task was before; none when it says what is stored.
    fn conclude(&mut self, now: Instant) -> Option<(Progress, &mut Self)> {
        let summary = self.state.conclude(now);
        if !std::mem::take(&mut self.early) && *summary == self.stored {
            return None;
        }
        let before = Progress::of(&self.stored);
        self.stored = summary.clone();
        Some((before, self))
    }
}

/// The places of a batch's messages, which follow each other.
fn revisions(last: u64, count: usize) -> std::ops::RangeInclusive<u64> {
    (last + 1).saturating_sub(count as u64)..=last
}

fn numbers(bucket: &str, key: &str, body: &[u8]) -> Result<Numbers, Fault> {
    Numbers::decode(body).map_err(|why| Fault::Refused(format!("{bucket}/{key}: {why}")))
}

type Body = Vec<u8>;

async fn get(bus: &Bus, bucket: &str, key: &str) -> Result<Option<(u64, Body)>, Fault> {
    let entry = bus.get(&kv::stream(bucket), &kv::subject(bucket, key)).await?;
    Ok(entry.and_then(|Entry { revision, body, .. }| Some((revision, body?.to_vec()))))
}

/// Values from the leader, in no order; keys that never were are left out, deleted ones have no body.
async fn get_all(bus: &Bus, bucket: &str, keys: Vec<String>) -> Result<Vec<(String, u64, Option<Body>)>, Fault> {
    let stream = kv::stream(bucket);
    let reads = stream::iter(keys).map(|key| {
        let (bus, stream, subject) = (bus.clone(), stream.clone(), kv::subject(bucket, &key));
        async move {
            let entry = bus.get(&stream, &subject).await?;
            Ok::<_, Fault>(entry.map(|e| (key, e.revision, e.body.map(|b| b.to_vec()))))
        }
    });
    reads.buffer_unordered(READS).try_filter_map(|entry| async move { Ok(entry) }).try_collect().await
}
