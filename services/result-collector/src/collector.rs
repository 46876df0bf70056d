//! The collector: takes work about tasks and stores what follows from it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::{StreamExt, stream};
use muster_broker::{Fault, decode, kv};
use muster_core::fact::Fact;
use muster_core::instant::Instant;
use muster_core::status::{Mark, Status};
use muster_core::summary::Summary;
use muster_runtime::steps::Context;

use crate::inbox::Work;
use crate::store::{self, Loaded, TASKS};

/// At most this many tasks are kept in memory; the others are read when they are needed.
const CACHED: usize = 2_000;
/// At most this many tasks are read at once.
const READS: usize = 16;
/// At most this many tasks are looked at for what follows from the time in one go.
const TIMED: usize = 500;
/// After this many attempts against other writers the flush is begun anew, after a pause.
const ATTEMPTS: u32 = 20;

/// Keeps the state of tasks and stores what becomes known of them.
pub struct Collector {
    context: Context,
    cache: HashMap<String, (u64, Loaded)>,
    used: u64,
    /// When something will follow from the time, by task.
    due: HashMap<String, Instant>,
}

/// A task about which nothing can be stored, with the reason.
pub type Refused = (String, String);

impl Collector {
    /// A collector that knows no task yet.
    pub fn new(context: Context) -> Self {
        Self { context, cache: HashMap::new(), used: 0, due: HashMap::new() }
    }

    /// Finds all tasks that have not ended, so that what follows from the time is seen for those too that another
    /// copy has worked on.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    pub async fn find_open(&mut self) -> Result<(), Fault> {
        let mut entries = self.context.bus.scan(&kv::stream(TASKS), &kv::subject(TASKS, ">")).await?;
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            let Some((task, body)) = kv::key(TASKS, &entry.subject).zip(entry.body.as_ref()) else { continue };
            match decode::<Summary>(TASKS, task, body) {
                Ok(summary) if summary.state.is_end() => {}
                Ok(_) => {
                    self.due.entry(task.to_owned()).or_default();
                }
                Err(fault) => tracing::warn!(%fault, "a summary is left out"),
            }
        }
        Ok(())
    }

    /// Stores what has followed from the time since the last call.
    ///
    /// # Errors
    /// As [`Collector::collect`].
    pub async fn look_at_time(&mut self) -> Result<(), Fault> {
        let now = self.context.clock.now();
        let due = self.due.iter().filter(|(_, at)| **at <= now).take(TIMED);
        let open: BTreeMap<String, Work> = due.map(|(task, _)| (task.clone(), Work::timed())).collect();
        if open.is_empty() {
            return Ok(());
        }
        for task in open.keys() {
            self.due.remove(task);
        }
        let tasks: Vec<String> = open.keys().cloned().collect();
        let collected = self.collect(open).await;
        if collected.is_err() {
            self.due.extend(tasks.into_iter().map(|task| (task, now)));
        }
        for (task, reason) in collected? {
            tracing::warn!(task, reason, "a task cannot be brought up to the time");
        }
        Ok(())
    }

    /// Stores all that the work means. Work about tasks that were never admitted means nothing.
    ///
    /// # Errors
    /// [`Fault::Unavailable`], [`Fault::Full`], or a conflict that does not end: repeat all of the work.
    pub async fn collect(&mut self, mut open: BTreeMap<String, Work>) -> Result<Vec<Refused>, Fault> {
        let mut refused = Vec::new();
        for attempt in 0..ATTEMPTS {
            let mut ready = self.prepare(&mut open, &mut refused).await?;
            // In one batch at first. When somebody else has written about one of them, each for itself.
            let size = if attempt == 0 { ready.len().max(1) } else { 1 };
            while !ready.is_empty() {
                let group: Vec<(String, Loaded)> = ready.drain(..ready.len().min(size)).collect();
                let (names, mut tasks): (Vec<String>, Vec<Loaded>) = group.into_iter().unzip();
                match store::write(&self.context.bus, self.context.clock.now(), &mut tasks).await {
                    Ok(()) => {
                        for (task, loaded) in names.into_iter().zip(tasks) {
                            open.remove(&task);
                            self.keep(task, loaded);
                        }
                    }
                    Err(Fault::Refused(why)) if size == 1 => {
                        refused.extend(
                            names.into_iter().inspect(|task| drop(open.remove(task))).map(|t| (t, why.clone())),
                        );
                    }
                    Err(Fault::Conflict | Fault::Exists | Fault::Refused(_)) => {}
                    Err(fault) => return Err(fault),
                }
            }
            if open.is_empty() {
                return Ok(refused);
            }
            self.context.clock.sleep(Duration::from_millis(u64::from(attempt) * 5)).await;
        }
        Err(Fault::Conflict)
    }

    /// The tasks with the work applied. They are out of the cache until they are stored.
    async fn prepare(
        &mut self,
        open: &mut BTreeMap<String, Work>,
        refused: &mut Vec<Refused>,
    ) -> Result<Vec<(String, Loaded)>, Fault> {
        let mut jobs = Vec::with_capacity(open.len());
        for (task, work) in open.iter() {
            let cached = self.cache.remove(task).map(|(_, loaded)| loaded).filter(|_| !work.infers());
            jobs.push((task.clone(), cached, work));
        }
        let context = &self.context;
        let jobs: Vec<_> = jobs.into_iter().map(|(task, cached, work)| apply(context, task, cached, work)).collect();
        let applied: Vec<_> = stream::iter(jobs).buffer_unordered(READS).collect().await;
        let mut ready = Vec::with_capacity(applied.len());
        for (task, applied) in applied {
            match applied {
                Ok(Some(loaded)) => ready.push((task, loaded)),
                Ok(None) => {
                    tracing::debug!(task, "told about a task that was never admitted");
                    open.remove(&task);
                }
                Err(Fault::Refused(why)) => {
                    open.remove(&task);
                    refused.push((task, why));
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(ready)
    }

    /// Of how many recipients of a task no end is stored; none when that is not known here, or all have one.
    pub fn open(&self, task: &str) -> Option<u64> {
        self.cache.get(task).and_then(|(_, loaded)| loaded.open())
    }

    fn keep(&mut self, task: String, mut loaded: Loaded) {
        match loaded.state.due() {
            Some(at) => drop(self.due.insert(task.clone(), at)),
            None => drop(self.due.remove(&task)),
        }
        self.used += 1;
        self.cache.insert(task, (self.used, loaded));
        if self.cache.len() > CACHED {
            let floor = self.used.saturating_sub(CACHED as u64 / 2);
            self.cache.retain(|_, (used, _)| *used > floor);
        }
    }
}

async fn apply(
    context: &Context,
    task: String,
    cached: Option<Loaded>,
    work: &Work,
) -> (String, Result<Option<Loaded>, Fault>) {
    let applied = applied(context, &task, cached, work).await;
    (task, applied)
}

/// The state of a task after its work; none when there is no such task.
async fn applied(context: &Context, task: &str, cached: Option<Loaded>, work: &Work) -> Result<Option<Loaded>, Fault> {
    let bus = &context.bus;
    let (mut loaded, fresh) = match cached {
        Some(loaded) => (loaded, false),
        None => match Loaded::read(bus, task).await? {
            Some(loaded) => (loaded, true),
            None => return Ok(None),
        },
    };
    // Recipients are stored before any command goes out. So who is not among them now is none, once we have looked.
    let told = work.facts.contains(&Fact::Frozen) || !loaded.state.knows_recipients();
    let looked = fresh || told;
    if told && !fresh {
        loaded.read_recipients(bus).await?;
    }
    if loaded.state.report(&work.reports) {
        if !looked && loaded.read_recipients(bus).await? {
            loaded.state.report(&work.reports);
        }
        tracing::debug!(task, "somebody who is no recipient has reported");
    }
    let page = |fact: &Fact| if let Fact::Page { n } = fact { Some(*n) } else { None };
    let pages: Vec<u32> = work.facts.iter().filter_map(page).collect();
    for page in store::pages(bus, loaded.fleet(), task, &pages).await? {
        loaded.state.page(&page);
    }
    let now = context.clock.now();
    // What is inferred comes last: it is given to those about whom nothing else is known.
    for fact in &work.facts {
        match fact {
            Fact::Refused { errors } => loaded.state.refused(errors, now),
            Fact::Nothing { reason } => loaded.state.nothing(reason, now),
            Fact::Superseded { by, numbers } => {
                loaded.state.unfinished_are(&Mark::because(Status::Superseded, by), numbers);
            }
            Fact::Gone { numbers } => loaded.state.unfinished_are(&Mark::of(Status::Gone), numbers),
            Fact::Stopped { stop, after, edge } => loaded.state.stopped(stop, *after, *edge),
            Fact::Frozen | Fact::Page { .. } | Fact::Expired => {}
        }
    }
    if work.infers() {
        loaded.state.infer(now, work.facts.contains(&Fact::Expired));
    }
    Ok(Some(loaded))
}
