//! What is already decided about a task.

use muster_broker::{Fault, decode, kv};
use muster_core::chain::{Frozen, Paged, Planned, Stored, key};
use muster_core::fleet::Fleet;
use muster_core::message::Command;
use muster_core::numbers::Numbers;
use serde::de::DeserializeOwned;

use super::Context;

/// The bucket of the agents, of the chains of their tasks, and of what belongs to the system as a whole.
pub const AGENTS: &str = Fleet::Agents.bucket();

/// The decisions of a task, as far as they are made.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// The plan.
    pub plan: Option<Planned>,
    /// The head of the recipients.
    pub recipients: Option<Frozen>,
    /// The pages that a resume repeats: the last two, with their numbers.
    pub pages: Vec<(u32, Paged)>,
    /// The delivery at which the newest decision was made; 0 when there is none.
    pub delivery: u64,
    /// What this copy has just decided in one batch with the plan: it need not be read back.
    pub(super) fresh: Option<Fresh>,
}

/// A small task's recipients and commands.
#[derive(Debug, Clone)]
pub(super) struct Fresh {
    pub(super) recipients: Numbers,
    pub(super) commands: Vec<Command>,
}

impl Chain {
    /// Reads a task's chain from the leader.
    ///
    /// # Errors
    /// [`Fault::Unavailable`]; [`Fault::Refused`] when a stored decision cannot be read.
    pub async fn load(context: &Context, fleet: Fleet, task: &str) -> Result<Self, Fault> {
        let mut chain = Self::default();
        let Some(plan) = stored::<Planned>(context, fleet, &key::plan(task)).await? else { return Ok(chain) };
        chain.delivery = plan.delivery;
        chain.plan = Some(plan.decision);
        let Some(head) = stored::<Frozen>(context, fleet, &key::recipients(task)).await? else { return Ok(chain) };
        chain.delivery = chain.delivery.max(head.delivery);
        chain.recipients = Some(head.decision);
        let count = Self::pages(context, fleet, task).await?;
        for n in count.saturating_sub(2)..count {
            if let Some(page) = stored::<Paged>(context, fleet, &key::page(task, n)).await? {
                chain.delivery = chain.delivery.max(page.delivery);
                chain.pages.push((n, page.decision));
            }
        }
        Ok(chain)
    }

    /// How many pages are decided; they are numbered from 0 without gaps.
    async fn pages(context: &Context, fleet: Fleet, task: &str) -> Result<u32, Fault> {
        let filter = kv::subject(fleet.bucket(), &format!("page.{task}.*"));
        let subjects = context.bus.list(&kv::stream(fleet.bucket()), &filter).await?;
        let numbers = subjects.iter().filter_map(|subject| subject.rsplit_once('.')?.1.parse::<u32>().ok());
        Ok(numbers.max().map_or(0, |n| n + 1))
    }

    /// The stop that ends the chain, if one does.
    pub fn stopped(&self) -> Option<&muster_core::summary::Stop> {
        match (&self.plan, &self.recipients, self.pages.last()) {
            (Some(Planned::Stop(stop)), ..) | (_, Some(Frozen::Stop(stop)), _) | (.., Some((_, Paged::Stop(stop)))) => {
                Some(stop)
            }
            _ => None,
        }
    }

    /// The last number that a page has decided.
    pub fn decided_upto(&self) -> Option<u32> {
        self.pages.iter().rev().find_map(|(_, page)| match page {
            Paged::Page(page) => Some(page.upto),
            Paged::Stop(_) => None,
        })?
    }

    /// Whether the last page is decided.
    pub fn is_decided(&self) -> bool {
        self.pages.iter().any(|(_, page)| matches!(page, Paged::Page(page) if page.last))
    }
}

/// A stored decision, from the leader.
///
/// # Errors
/// As [`Chain::load`].
pub async fn stored<D: DeserializeOwned>(
    context: &Context,
    fleet: Fleet,
    key: &str,
) -> Result<Option<Stored<D>>, Fault> {
    let bucket = fleet.bucket();
    let entry = context.bus.get(&kv::stream(bucket), &kv::subject(bucket, key)).await?;
    entry.and_then(|e| e.body).map(|body| decode(bucket, key, &body)).transpose()
}
