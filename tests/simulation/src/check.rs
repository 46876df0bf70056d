//! What must be true when a world has come to rest: DESIGN section 6, looked at from the streams, the buckets, and what the
//! agents did.

mod index;
mod statuses;
mod tasks;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt;
use muster_broker::{Broker, kv};
use muster_core::chain::{Frozen, Page, Paged, Planned, Stored};
use muster_core::numbers::Numbers;
use muster_core::record::{Agent, Group};
use muster_core::summary::Summary;
use serde::de::DeserializeOwned;

use crate::truth::Deeds;
use crate::world::World;

/// Looks at everything.
pub async fn all(world: &World) {
    let rest = Rest::read(world).await;
    let mut wrong = Vec::new();
    tasks::check(world, &rest, &mut wrong).await;
    for task in &rest.tasks {
        statuses::check(world, &rest, task, &mut wrong).await;
    }
    index::check(world, &rest, &mut wrong);
    wrong.into_iter().for_each(|what| world.net.violation(what));
}

/// The world at rest.
struct Rest {
    /// Summaries in the order of their tasks.
    tasks: Vec<Summary>,
    /// The bucket `agents`, by key.
    agents: BTreeMap<String, Bytes>,
    deeds: Deeds,
}

impl Rest {
    async fn read(world: &World) -> Self {
        let mut tasks = world.summaries().await;
        tasks.sort_by_key(|task| task.order);
        let mut agents = BTreeMap::new();
        if let Ok(mut found) = world.net.broker.scan("KV_agents", &kv::subject("agents", ">")).await {
            while let Some(Ok(entry)) = found.next().await {
                if let (Some(key), Some(body)) = (kv::key("agents", &entry.subject), entry.body) {
                    agents.insert(key.to_owned(), body);
                }
            }
        }
        Self { tasks, agents, deeds: world.net.truth.all() }
    }

    fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_slice(self.agents.get(key)?).ok()
    }

    /// The keys that begin with this, and what follows it.
    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
        self.agents.iter().filter_map(move |(key, body)| Some((key.strip_prefix(prefix)?, body)))
    }

    fn set(&self, prefix: &str) -> Numbers {
        let mut all = Numbers::new();
        for (_, body) in self.under(prefix) {
            if let Ok(part) = Numbers::decode(body) {
                all.union_with(&part);
            }
        }
        all
    }

    fn records(&self) -> impl Iterator<Item = Agent> {
        self.under("id.").filter_map(|(_, body)| serde_json::from_slice(body).ok())
    }

    fn record(&self, number: u32) -> Option<Agent> {
        self.get(&format!("id.{}", muster_core::record::agent_id(number)))
    }

    fn groups(&self) -> impl Iterator<Item = (String, Group)> {
        self.under("gmeta.").filter_map(|(name, body)| Some((name.to_owned(), serde_json::from_slice(body).ok()?)))
    }

    fn plan(&self, task: &str) -> Option<Planned> {
        self.get::<Stored<Planned>>(&format!("plan.{task}")).map(|stored| stored.decision)
    }

    fn is_frozen(&self, task: &str) -> bool {
        let head = self.get::<Stored<Frozen>>(&format!("recipients.{task}"));
        matches!(head.map(|stored| stored.decision), Some(Frozen::Recipients { .. }))
    }

    fn pages(&self, task: &str) -> Vec<Page> {
        let prefix = format!("page.{task}.");
        let mut pages: Vec<(u32, Page)> = self
            .under(&prefix)
            .filter_map(|(n, body)| match serde_json::from_slice::<Stored<Paged>>(body).ok()?.decision {
                Paged::Page(page) => Some((n.parse().ok()?, page)),
                Paged::Stop(_) => None,
            })
            .collect();
        pages.sort_by_key(|(n, _)| *n);
        pages.into_iter().map(|(_, page)| page).collect()
    }
}
