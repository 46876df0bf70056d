//! The agents' records, read together when many are asked for at once.

use std::collections::HashMap;
use std::time::Duration;

use muster_broker::{Bus, Fault, decode, kv};
use muster_core::record::Agent;
use muster_runtime::steps::{AGENTS, Context};
use tokio::sync::oneshot;

use crate::gather::{Gather, Pace};

const READS: Pace = Pace { most: 500, in_flight: 4, idle: Duration::ZERO, busy: Duration::ZERO };

type Answer = Result<Option<Agent>, Fault>;

/// Reads records.
pub struct Records(Gather<(String, oneshot::Sender<Answer>)>);

impl Records {
    /// Starts it.
    pub fn start(context: &Context) -> Self {
        let bus = context.bus.clone();
        Self(Gather::start(context.clock.clone(), READS, move |group| read(bus.clone(), group)))
    }

    /// The record of an agent that is not gone.
    ///
    /// # Errors
    /// [`Fault::Unavailable`]; [`Fault::Refused`] when the record cannot be read.
    pub async fn get(&self, agent: &str) -> Answer {
        let answer = self.0.ask(|answer| (agent.to_owned(), answer)).await;
        answer.unwrap_or_else(|| Err(Fault::Unavailable("the gateway is shutting down".into())))
    }

    /// Ends it.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

async fn read(bus: Bus, group: Vec<(String, oneshot::Sender<Answer>)>) {
    let subject = |agent: &str| kv::subject(AGENTS, &format!("id.{agent}"));
    let mut subjects: Vec<String> = group.iter().map(|(agent, _)| subject(agent)).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let entries = match subjects.as_slice() {
        [one] => bus.get(&kv::stream(AGENTS), one).await.map(|entry| entry.into_iter().collect()),
        many => bus.get_many(&kv::stream(AGENTS), many).await,
    };
    let bodies = entries
        .map(|entries| entries.into_iter().filter_map(|e| Some((e.subject, e.body?))).collect::<HashMap<_, _>>());
    for (agent, answer) in group {
        let record = bodies.as_ref().map_err(Clone::clone).and_then(|bodies| {
            let body = bodies.get(&subject(&agent));
            body.map(|body| decode::<Agent>(AGENTS, &format!("id.{agent}"), body)).transpose()
        });
        let _ = answer.send(record.map(|agent| agent.filter(|agent| !agent.gone)));
    }
}
