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
use tokio::task::JoinSet;

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
    lanes: HashMap<Lane, Stamp>,
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
        Self { tell, told, working: JoinSet::new(), lanes: HashMap::new() }
    }

    /// Whether this version of the lane, or a newer one, is being put in force.
    pub fn has(&self, single: &Single) -> bool {
        self.lanes.get(&single.lane).is_some_and(|version| *version >= single.entry.version)
    }

    /// Puts a lane in force beside the session.
    pub fn lane(&mut self, single: Single, work: impl Future<Output = Result<Value, Outcome>> + Send + 'static) {
        self.lanes.insert(single.lane.clone(), single.entry.version);
        let tell = self.tell.clone();
        self.working.spawn(async move {
            let begun = || Said::Started(single.clone());
            let done = told(&tell, begun, work).await;
            let _ = tell.send(Said::Lane(single, done));
        });
    }

    /// Carries out an edge command beside the session.
    pub fn run(&mut self, task: String, work: impl Future<Output = Outcome> + Send + 'static) {
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
        if let Said::Lane(single, _) = &said
            && self.lanes.get(&single.lane) == Some(&single.entry.version)
        {
            self.lanes.remove(&single.lane);
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
