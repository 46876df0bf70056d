//! Storing reports by group commit. What is confirmed to an agent is stored.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use muster_broker::{Bus, Fault, Write};
use muster_core::message::Report;
use muster_runtime::steps::Context;
use muster_telemetry::trace::Origin;
use tokio::sync::oneshot;

use crate::gather::{Gather, Pace};
use crate::report;

const RESULTS: &str = "RESULTS";
const RUNS: &str = "RUNS";

const COMMITS: Pace =
    Pace { most: 1000, in_flight: 2, idle: Duration::from_micros(500), busy: Duration::from_millis(20) };
/// Edge commands that end in larger groups are left to the task-manager: a purge for each would cost more than all else.
const FEW: usize = 16;
const PURGES: Pace = Pace { most: 100, in_flight: 1, idle: Duration::ZERO, busy: Duration::ZERO };

/// The results of one report, and whom to tell when they are stored.
struct Item {
    writes: Vec<Write>,
    /// The messages of edge commands that end with it.
    ended: Vec<String>,
    stored: oneshot::Sender<Result<(), Fault>>,
}

/// Where reports are stored.
pub struct Results {
    commits: Gather<Item>,
    purges: Arc<Gather<String>>,
}

impl Results {
    /// Starts the group commit.
    pub fn start(context: &Context) -> Self {
        let bus = context.bus.clone();
        let purges = Arc::new(Gather::start(context.clock.clone(), PURGES, move |group| purge(bus.clone(), group)));
        let (bus, over) = (context.bus.clone(), purges.clone());
        let commits =
            Gather::start(context.clock.clone(), COMMITS, move |group| commit(bus.clone(), over.clone(), group));
        Self { commits, purges }
    }

    /// Stores the results of an agent's report, and gives the tasks that it is about. The message of an edge command
    /// that has ended is purged afterwards, when few end at once.
    ///
    /// # Errors
    /// When it is not known that all are stored: the agent reports again.
    pub async fn store(&self, agent: &str, number: u32, report: Report) -> Result<Vec<String>, Fault> {
        let mut tasks: Vec<String> = report.results.iter().map(|result| result.request_id.clone()).collect();
        tasks.dedup();
        if tasks.is_empty() {
            return Ok(tasks);
        }
        let ended: Vec<String> = report.results.iter().filter_map(|result| report::ends(agent, result)).collect();
        let origin = Origin::current();
        let stored = |result| Ok(report::stored(agent, number, result)?.origin(&origin));
        let writes = report.results.into_iter().map(stored);
        let writes = writes.collect::<Result<_, Fault>>()?;
        let stored = self.commits.ask(|stored| Item { writes, ended, stored }).await;
        stored.unwrap_or_else(|| Err(Fault::Unavailable("the gateway is shutting down".into())))?;
        Ok(tasks)
    }

    /// Purges messages of edge commands, by and by. One that is forgotten here ends with its `deliver_until`.
    pub fn forget(&self, subjects: impl IntoIterator<Item = String>) {
        subjects.into_iter().for_each(|subject| self.purges.offer(subject));
    }

    /// Stores what has come in, and ends.
    pub async fn close(&self) {
        self.commits.close().await;
        self.purges.close().await;
    }
}

async fn commit(bus: Bus, purges: Arc<Gather<String>>, group: Vec<Item>) {
    let (mut writes, mut ended, mut waiting) = (Vec::new(), Vec::new(), Vec::with_capacity(group.len()));
    for item in group {
        writes.extend(item.writes);
        ended.extend(item.ended);
        waiting.push(item.stored);
    }
    let mut outcome = Ok(());
    for round in report::rounds(writes) {
        outcome = bus.publish(RESULTS, round).await;
        if outcome.is_err() {
            break;
        }
    }
    if outcome.is_ok() && ended.len() <= FEW {
        ended.into_iter().for_each(|subject| purges.offer(subject));
    }
    for stored in waiting {
        let _ = stored.send(outcome.clone());
    }
}

async fn purge(bus: Bus, subjects: Vec<String>) {
    let bus = &bus;
    let purges = stream::iter(subjects).map(|subject| async move {
        if let Err(fault) = bus.purge(RUNS, &subject).await {
            tracing::debug!(subject, %fault, "an edge command that has ended stays until its time is up");
        }
    });
    // A purge holds its stream for a millisecond or more.
    purges.buffer_unordered(2).collect::<()>().await;
}
