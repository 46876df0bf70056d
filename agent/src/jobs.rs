//! What takes its time: it runs beside the recipient, which goes on hearing commands and comparing its state.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use muster_core::lane::Lane;
use muster_core::message::Outcome;
use muster_core::stamp::Stamp;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};

use crate::rules::Single;

/// What is over before this is not reported as begun.
const SHORT: Duration = Duration::from_secs(1);

/// What a job says.
pub enum Said {
    /// It takes longer than a second.
    Started(Single),
    /// An edge command takes longer than a second.
    Began(String),
    /// A lane is in force, or not.
    Lane(Single, Result<Value, Outcome>),
    /// An edge command is done.
    Run(String, Outcome),
}

/// The jobs at work.
pub struct Jobs {
    tell: UnboundedSender<Said>,
    told: UnboundedReceiver<Said>,
    working: JoinSet<()>,
    /// The lanes at work, with the version of each: the same one, handed over again, is not begun again.
    lanes: HashMap<Lane, (Stamp, AbortHandle)>,
    /// How many edge commands are at work.
    runs: usize,
}

impl Default for Jobs {
    fn default() -> Self {
        Self::new()
    }
}

impl Jobs {
    /// None at work.
    pub fn new() -> Self {
        let (tell, told) = unbounded_channel();
        Self { tell, told, working: JoinSet::new(), lanes: HashMap::new(), runs: 0 }
    }

    /// Whether this version of the lane, or a newer one, is being put in force.
    pub fn has(&self, single: &Single) -> bool {
        self.lanes.get(&single.lane).is_some_and(|(version, _)| *version >= single.entry.version)
    }

    /// How many edge commands are at work.
    pub const fn runs(&self) -> usize {
        self.runs
    }

    /// Puts a lane in force beside the session. An older version of it that is at work is given up: this one overtakes it.
    pub fn lane(&mut self, single: Single, work: impl Future<Output = Result<Value, Outcome>> + Send + 'static) {
        let (lane, version, tell) = (single.lane.clone(), single.entry.version, self.tell.clone());
        let working = self.working.spawn(async move {
            let begun = || Said::Started(single.clone());
            let done = told(&tell, begun, work).await;
            let _ = tell.send(Said::Lane(single, done));
        });
        if let Some((_, older)) = self.lanes.insert(lane, (version, working)) {
            older.abort();
        }
    }

    /// Carries out an edge command beside the session.
    pub fn run(&mut self, task: String, work: impl Future<Output = Outcome> + Send + 'static) {
        self.runs += 1;
        let tell = self.tell.clone();
        self.working.spawn(async move {
            let outcome = told(&tell, || Said::Began(task.clone()), work).await;
            let _ = tell.send(Said::Run(task, outcome));
        });
    }

    /// What a job says next; waits for as long as none says anything.
    pub async fn next(&mut self) -> Said {
        // This side holds a sender, so the channel never closes.
        let Some(said) = self.told.recv().await else { return std::future::pending().await };
        while self.working.try_join_next().is_some() {}
        match &said {
            Said::Lane(single, _)
                if self.lanes.get(&single.lane).is_some_and(|(version, _)| *version == single.entry.version) =>
            {
                self.lanes.remove(&single.lane);
            }
            Said::Run(..) => self.runs -= 1,
            _ => {}
        }
        said
    }

    /// Ends all of them: what they did not finish is handed over again, or reported as interrupted.
    pub async fn stop(mut self) {
        self.working.shutdown().await;
    }
}

/// Does the work, and tells that it was begun if it takes longer than a second.
async fn told<T>(tell: &UnboundedSender<Said>, begun: impl FnOnce() -> Said, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    match tokio::time::timeout(SHORT, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            let _ = tell.send(begun());
            work.await
        }
    }
}
