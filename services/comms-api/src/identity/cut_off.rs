//! Closes the connections of agents that are gone, and looks again until none stands: one that was admitted just before
//! the agent was deleted may be about to appear.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_broker::Clock;
use muster_core::instant::Instant;
use muster_core::numbers::Numbers;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Connections;

/// For so long after its last connection was seen an agent is looked for: longer than the server waits for the callout.
const WATCHED: Duration = Duration::from_secs(7);
/// Between two looks; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Cuts agents off.
#[derive(Clone)]
pub struct CutOff(mpsc::UnboundedSender<Asked>);

/// Whom to cut off, and whom to tell when no connection has stood for the time that they are watched.
struct Asked {
    agents: Numbers,
    done: Option<oneshot::Sender<()>>,
}

impl CutOff {
    /// Starts it over the agents' connections (on NATS, over a connection to the system account); it works until the token
    /// is cancelled.
    pub fn start(connections: Arc<dyn Connections>, clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move { stop.run_until_cancelled(work(connections, clock, receiver)).await });
        Self(sender)
    }

    /// Closes all connections of these agents, on every server, now and until none has appeared for some seconds. The
    /// records must say already that they are gone.
    pub fn cut_off(&self, agents: Numbers) {
        let _ = self.0.send(Asked { agents, done: None });
    }

    /// The same for one agent; returns when no connection of it has stood for some seconds. False when this gateway ends
    /// before.
    pub async fn is_gone(&self, agent: u32) -> bool {
        let (done, told) = oneshot::channel();
        self.0.send(Asked { agents: Numbers::from_iter([agent]), done: Some(done) }).is_ok() && told.await.is_ok()
    }
}

async fn work(connections: Arc<dyn Connections>, clock: Arc<dyn Clock>, mut asked: mpsc::UnboundedReceiver<Asked>) {
    // Who is looked for, until when.
    let mut watched: BTreeMap<u32, Instant> = BTreeMap::new();
    let mut waiting: Vec<(Numbers, oneshot::Sender<()>)> = Vec::new();
    let mut pause = PAUSE;
    loop {
        let news = if watched.is_empty() {
            asked.recv().await
        } else {
            let nobody = || Asked { agents: Numbers::new(), done: None };
            tokio::select! { news = asked.recv() => news, () = clock.sleep(pause) => Some(nobody()) }
        };
        let Some(first) = news else { return };
        let mut news = Numbers::new();
        let mut next = Some(first);
        while let Some(Asked { agents, done }) = next {
            news.union_with(&agents);
            waiting.extend(done.map(|done| (agents, done)));
            next = asked.try_recv().ok();
        }
        pause = if news.is_empty() { (2 * pause).min(LONGEST_PAUSE) } else { PAUSE };
        let now = clock.now();
        // Who is watched already is not watched anew: or asking again and again would never come to an end.
        for agent in news.iter() {
            watched.entry(agent).or_insert(now.plus(WATCHED));
        }
        match connections.close(&watched.keys().copied().collect()).await {
            Ok(closed) => {
                let again = clock.now().plus(WATCHED);
                watched.retain(|_, until| *until > now);
                watched.extend(closed.iter().map(|agent| (agent, again)));
                let (over, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut waiting)
                    .into_iter()
                    .partition(|(agents, _)| agents.iter().all(|agent| !watched.contains_key(&agent)));
                waiting = rest;
                for (_, done) in over {
                    let _ = done.send(());
                }
            }
            // They stay watched: whoever cannot be looked for may be connected.
            Err(why) => tracing::warn!(why, agents = watched.len(), "deleted agents cannot be cut off; trying again"),
        }
    }
}
