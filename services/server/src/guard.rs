//! Roles and policies: read from the bucket `rbac` as a whole, and asked at `node.rbac.check` (any node) and
//! `node.rbac.check.<node>` (this one).

use std::sync::{Arc, RwLock};

use async_nats::{Client, Subscriber};
use futures::StreamExt;
use futures::stream::select;
use muster_agent::rules::outcome::{NOT_APPLIED, outcome};
use muster_broker::{Bus, Fault, kv};
use muster_core::message::Outcome;
use muster_core::problem::{Problem, in_words};
use muster_core::rbac::{BUCKET, Question, Rules, Verdict};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

/// The queue group of all nodes.
pub const NODES: &str = "nodes";
/// The subject of questions.
const CHECK: &str = "node.rbac.check";

/// The rules in force, none when they were bad from the start, and the revision of the bucket at which they were read.
type Cache = Arc<RwLock<(Option<Rules>, u64)>>;

/// The cache of roles and policies.
pub struct Guard {
    bus: Bus,
    cache: Cache,
    answering: AbortHandle,
}

impl Guard {
    /// Reads the bucket and begins to answer.
    ///
    /// # Errors
    /// When the bucket cannot be read or the subjects not be listened on. Where the rules are bad nobody may do anything
    /// until they are mended.
    pub async fn start(bus: &Bus, client: &Client, id: &str) -> anyhow::Result<Self> {
        let (rules, revision) = read(bus).await?;
        let rules = rules.inspect_err(|problems| tracing::error!(?problems, "the roles and policies are bad")).ok();
        let cache: Cache = Arc::new(RwLock::new((rules, revision)));
        let any = client.queue_subscribe(CHECK, NODES.to_owned()).await?;
        let this = client.subscribe(format!("{CHECK}.{id}")).await?;
        let answering = tokio::spawn(answer(client.clone(), any, this, cache.clone())).abort_handle();
        Ok(Self { bus: bus.clone(), cache, answering })
    }

    /// Reads the bucket again; it must stand at this revision or a later one.
    ///
    /// # Errors
    /// [`Fault`] when it cannot be read, or stands at an earlier revision, as a replica that is behind does. Within it
    /// what is wrong with the documents: then the rules before stay in force.
    pub async fn refresh(&self, wanted: u64) -> Result<Result<Value, Outcome>, Fault> {
        let (rules, revision) = read(&self.bus).await?;
        if revision < wanted {
            return Err(Fault::Unavailable(format!("the bucket {BUCKET} stands at {revision}, not yet at {wanted}")));
        }
        match rules {
            Ok(rules) => {
                *self.cache.write().unwrap_or_else(std::sync::PoisonError::into_inner) = (Some(rules), revision);
                Ok(Ok(json!({ "revision": revision })))
            }
            Err(problems) => Ok(Err(outcome(NOT_APPLIED, in_words(&problems)))),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// The rules of the bucket, and the revision of its newest change.
async fn read(bus: &Bus) -> Result<(Result<Rules, Vec<Problem>>, u64), Fault> {
    let (mut revision, mut documents) = (0, Vec::new());
    let mut entries = bus.scan(&kv::stream(BUCKET), &kv::subject(BUCKET, ">")).await?;
    while let Some(entry) = entries.next().await.transpose()? {
        revision = revision.max(entry.revision);
        if let (Some(key), Some(body)) = (kv::key(BUCKET, &entry.subject), entry.body) {
            documents.push((key.to_owned(), String::from_utf8_lossy(&body).into_owned()));
        }
    }
    Ok((Rules::read(documents.iter().map(|(key, text)| (key.as_str(), text.as_str()))), revision))
}

async fn answer(client: Client, any: Subscriber, this: Subscriber, cache: Cache) {
    let mut questions = select(any, this);
    while let Some(message) = questions.next().await {
        let Some(reply) = message.reply else { continue };
        let verdict = {
            let cache = cache.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            let checked = match serde_json::from_slice::<Question>(&message.payload) {
                Ok(question) => match &cache.0 {
                    Some(rules) => rules.check(&question),
                    None => Err("the roles and policies cannot be read".to_owned()),
                },
                Err(error) => Err(format!("not a question: {error}")),
            };
            Verdict { allowed: checked.is_ok(), revision: cache.1, why: checked.err() }
        };
        // Texts and numbers: it has a JSON form.
        let answer = serde_json::to_vec(&verdict).unwrap_or_default();
        if let Err(error) = client.publish(reply, answer.into()).await {
            tracing::warn!(%error, "a verdict was not sent");
        }
    }
}
