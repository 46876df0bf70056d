//! Edge commands of tasks that have ended. The gateway purges them one by one as they end, unless many end at once; and
//! what it was killed before, or what no agent has come for, stays too. Here all of it goes.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use muster_broker::{Entry, Fault, decode, kv};
use muster_core::chain::{Frozen, Stored, key};
use muster_core::fleet::Fleet;
use muster_core::numbers::Numbers;
use muster_core::record::agent_id;
use muster_core::summary::Summary;
use muster_runtime::steps::{AGENTS, Context};

const RUNS: &str = "RUNS";
/// Of a task with more recipients all messages are purged in one request, which looks through the whole stream. Of others
/// each that is still there.
const MANY: u64 = 256;
/// A purge holds its stream for a millisecond or more.
const AT_ONCE: usize = 2;

/// What the tasks that have ended may have left.
#[derive(Default)]
pub(crate) struct Leftovers {
    large: Vec<String>,
    small: Vec<String>,
}

impl Leftovers {
    /// Adds a task that has ended.
    pub(crate) fn add(&mut self, task: &Summary) {
        let recipients = task.recipients.filter(|_| task.fleet() == Fleet::Agents).unwrap_or(0);
        match recipients {
            0 => {}
            1..=MANY => self.small.push(task.id.clone()),
            _ => self.large.push(task.id.clone()),
        }
    }

    /// Purges it. Nobody starts any of it any more: who has no end on record has started, or may not.
    pub(crate) async fn purge(self, context: &Context) -> Result<(), Fault> {
        let large = self.large.iter().map(|task| format!("commands.agent.*.run.{task}"));
        let subjects: Vec<String> = large.chain(self.waiting(context).await?).collect();
        let bus = &context.bus;
        let purges = stream::iter(subjects).map(|subject| async move { bus.purge(RUNS, &subject).await });
        purges.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// The messages of small tasks that are still there.
    async fn waiting(&self, context: &Context) -> Result<Vec<String>, Fault> {
        let heads = keys(self.small.iter().map(|task| key::recipients(task)));
        let mut containers = Vec::new();
        for entry in context.bus.get_many(&kv::stream(AGENTS), &heads).await? {
            let Some((task, body)) = about(&entry) else { continue };
            let head: Stored<Frozen> = decode(AGENTS, &entry.subject, body)?;
            if let Frozen::Recipients { containers: of, .. } = head.decision {
                containers.extend(of.into_iter().map(|container| key::container(task, container)));
            }
        }
        let mut sent = Vec::new();
        for entry in context.bus.get_many(&kv::stream(AGENTS), &keys(containers)).await? {
            let Some((task, body)) = about(&entry) else { continue };
            let numbers = Numbers::decode(body).map_err(|why| Fault::Refused(format!("{}: {why}", entry.subject)))?;
            sent.extend(numbers.iter().map(|number| format!("commands.agent.{}.run.{task}", agent_id(number))));
        }
        Ok(context.bus.get_many(RUNS, &sent).await?.into_iter().map(|entry| entry.subject).collect())
    }
}

/// The subjects of keys.
fn keys(keys: impl IntoIterator<Item = String>) -> Vec<String> {
    keys.into_iter().map(|key| kv::subject(AGENTS, &key)).collect()
}

/// The task that an entry of recipients is about, and its value.
fn about(entry: &Entry) -> Option<(&str, &Bytes)> {
    kv::key(AGENTS, &entry.subject)?.split('.').nth(1).zip(entry.body.as_ref())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use muster_broker::memory::MemoryBroker;
    use muster_broker::{Broker as _, SystemClock, Write, encode};
    use serde_json::json;

    use super::*;

    fn ended(task: &str, recipients: u64) -> Summary {
        serde_json::from_value(json!({
            "id": task, "type": "active-response-execution", "order": "0-1", "digest": "", "state": "succeeded",
            "created": "2026-11-30T00:00:00Z", "deliver_until": "2026-11-30T00:05:00Z", "timeout": 600,
            "recipients": recipients, "counts": muster_core::status::Counts::default(),
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn what_ended_tasks_have_left_goes_and_what_waits_for_others_stays() {
        let clock = Arc::new(SystemClock);
        let broker = MemoryBroker::new(clock.clone()).unwrap();
        let context = Context { bus: Arc::new(broker.clone()), clock };
        let run = |task: &str, number: u32| Write::new(format!("commands.agent.{}.run.{task}", agent_id(number)), "{}");
        let writes = [("large", 1), ("large", 70_000), ("small", 1), ("small", 70_000), ("open", 1)];
        broker.publish(RUNS, writes.map(|(task, number)| run(task, number)).to_vec()).await.unwrap();
        let head = Stored::new(1, Frozen::Recipients { count: 2, containers: vec![0, 1] });
        let chain = [
            Write::put(AGENTS, &key::recipients("small"), encode(&head).unwrap(), 0),
            Write::put(AGENTS, &key::container("small", 0), Numbers::from_iter([1]).encode(), 0),
            Write::put(AGENTS, &key::container("small", 1), Numbers::from_iter([70_000]).encode(), 0),
        ];
        broker.commit(&kv::stream(AGENTS), chain.to_vec()).await.unwrap();

        let mut leftovers = Leftovers::default();
        leftovers.add(&ended("large", 1000));
        leftovers.add(&ended("small", 2));
        leftovers.add(&ended("none", 0));
        leftovers.purge(&context).await.unwrap();
        assert_eq!(broker.list(RUNS, "commands.>").await.unwrap(), ["commands.agent.001.run.open"]);
    }
}
