//! Enrolment: a key gets an id, a number and a record, once and for ever. Many enrolments are one batch.

mod batch;
mod numbers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use muster_broker::{Fault, Txn};
use muster_core::message::{Enrol, Enrolled};
use muster_core::names::{agent_name_fault, escape};
use muster_core::numbers::Numbers as Set;
use muster_core::problem::{Problem, Refusal};
use muster_core::record::{Agent, DEFAULT_GROUP, Group, agent_id};
use muster_runtime::extend;
use muster_runtime::steps::{AGENTS, Context};
use tokio::sync::{Mutex, oneshot};

use self::batch::{Ask, Known, Verdict};
use self::numbers::{Numbers, pause};
use crate::gather::{Gather, Pace};
use crate::refusal;

/// Three keys for each, some for the sets: well below the limit of a batch.
const BATCHES: Pace =
    Pace { most: 150, in_flight: 1, idle: Duration::from_micros(500), busy: Duration::from_millis(5) };
/// How often a batch is tried over before those who ask are told to ask again.
const ATTEMPTS: u32 = 100;

type Answer = Result<Enrolled, Refusal>;

/// Enrols agents.
pub struct Enrolments(Gather<(Ask, oneshot::Sender<Answer>)>);

impl Enrolments {
    /// Starts it.
    pub fn start(context: &Context, epoch: u32) -> Self {
        let office = Arc::new(Office { context: context.clone(), epoch, numbers: Mutex::default() });
        Self(Gather::start(context.clock.clone(), BATCHES, move |group| {
            let office = office.clone();
            async move { office.serve(group).await }
        }))
    }

    /// Makes an agent of whoever has this key. The same key is the same agent, however often it asks.
    ///
    /// # Errors
    /// A key that is none, a bad or taken name, a deleted agent; `unavailable` when it is not known.
    pub async fn enrol(&self, nkey: &str, enrol: Enrol) -> Answer {
        if !is_user_key(nkey) {
            let problem = Problem::new("bad-key", "", "the subject does not name the public key of a user");
            return Err(vec![problem.hint("ask at enrol.<nkey>")]);
        }
        if let Some(why) = agent_name_fault(&enrol.name) {
            let problem = Problem::new("bad-name", "/name", why).hint("choose another name for this agent");
            return Err(vec![problem]);
        }
        let ask = Ask { nkey: nkey.to_owned(), name: enrol.name };
        let closed = || Err(refusal::unavailable(Fault::Unavailable("the gateway is shutting down".into())));
        self.0.ask(|answer| (ask, answer)).await.unwrap_or_else(closed)
    }

    /// Ends it.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// Whether it has the form of a user's public nkey: `U` and 55 characters of Base32.
pub(crate) fn is_user_key(nkey: &str) -> bool {
    nkey.len() == 56 && nkey.starts_with('U') && nkey.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
}

struct Office {
    context: Context,
    epoch: u32,
    numbers: Mutex<Numbers>,
}

impl Office {
    async fn serve(&self, group: Vec<(Ask, oneshot::Sender<Answer>)>) {
        let (asks, waiting): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let answers = match self.enrol(&asks).await {
            Ok(answers) => answers,
            Err(fault) => vec![Err(refusal::unavailable(fault)); asks.len()],
        };
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            let _ = waiting.send(answer);
        }
    }

    async fn enrol(&self, asks: &[Ask]) -> Result<Vec<Answer>, Fault> {
        let mut numbers = self.numbers.lock().await;
        for attempt in 0..ATTEMPTS {
            let mut txn = Txn::new(&self.context.bus, AGENTS);
            let known = look_up(&mut txn, asks).await?;
            let (verdicts, new) = batch::decide(asks, &known);
            let taken = numbers.take(&self.context, new.len()).await?;
            let answers = verdicts.into_iter().map(|verdict| match verdict {
                Verdict::Is(enrolled) => Ok(enrolled),
                Verdict::New(place) => Ok(batch::enrolled(&new[place], taken[place])),
                Verdict::Refused(errors) => Err(errors),
            });
            let answers = answers.collect();
            if new.is_empty() {
                return Ok(answers);
            }
            if attempt > 0 && used(&mut txn, &taken).await? {
                // A batch whose answer was lost was stored after all. Its numbers stay used, and its keys are known now.
                continue;
            }
            self.stage(&mut txn, &new, &taken).await?;
            match txn.commit().await {
                Ok(_) => return Ok(answers),
                Err(Fault::Conflict) => numbers.give_back(&taken),
                Err(fault) => return Err(fault),
            }
            pause(&*self.context.clock, attempt).await;
        }
        Err(Fault::Unavailable("too many enrol at once".into()))
    }

    /// Adds the new agents to a batch.
    async fn stage(&self, txn: &mut Txn, new: &[Ask], numbers: &[u32]) -> Result<(), Fault> {
        let gmeta = format!("gmeta.{DEFAULT_GROUP}");
        let default = match txn.get::<Group>(&gmeta)? {
            Some(group) => group,
            None => {
                txn.put_json(&gmeta, &Group::alive(None))?;
                Group::alive(None)
            }
        };
        let now = self.context.clock.now();
        for (ask, number) in new.iter().zip(numbers) {
            let id = agent_id(*number);
            txn.put_json(&key(&ask.nkey), &id)?;
            txn.put_json(&name(&ask.name), &id)?;
            txn.put_json(&format!("id.{id}"), &batch::record(ask, *number, &default, self.epoch, now))?;
        }
        let added: Set = numbers.iter().copied().collect();
        extend(txn, "enrolled", &added).await?;
        if default.is_alive() {
            extend(txn, &format!("group.{DEFAULT_GROUP}"), &added).await?;
        }
        Ok(())
    }
}

/// What is known of those who ask. Of all that is read here only the life and contents of the group `default` must
/// stay as they are until the commit: a key or name that is taken meanwhile is not there to be created.
async fn look_up(txn: &mut Txn, asks: &[Ask]) -> Result<Known, Fault> {
    let keys: BTreeSet<String> = asks.iter().flat_map(|ask| [key(&ask.nkey), name(&ask.name)]).collect();
    txn.load(keys.iter().cloned().chain([format!("gmeta.{DEFAULT_GROUP}")])).await?;
    let mut known = Known::default();
    let mut ids = Vec::new();
    for ask in asks {
        if let Some(id) = txn.get::<String>(&name(&ask.name))? {
            known.names.insert(ask.name.clone(), id);
        }
        if let Some(id) = txn.get::<String>(&key(&ask.nkey))? {
            ids.push((ask.nkey.clone(), id));
        }
    }
    let records: BTreeSet<String> = ids.iter().map(|(_, id)| format!("id.{id}")).collect();
    txn.load(records.iter().cloned()).await?;
    for (nkey, id) in ids {
        let record = format!("id.{id}");
        let agent = txn.get::<Agent>(&record)?;
        let agent = agent.ok_or_else(|| Fault::Refused(format!("{AGENTS}/{record} is missing")))?;
        known.agents.insert(nkey, (id, agent));
    }
    keys.iter().chain(&records).for_each(|key| txn.unchecked(key));
    Ok(known)
}

/// Whether one of the numbers has a record.
async fn used(txn: &mut Txn, numbers: &[u32]) -> Result<bool, Fault> {
    let keys: Vec<String> = numbers.iter().map(|number| format!("id.{}", agent_id(*number))).collect();
    txn.load(keys.iter().cloned()).await?;
    Ok(keys.iter().any(|key| txn.bytes(key).is_some()))
}

fn key(nkey: &str) -> String {
    format!("key.{}", escape(nkey))
}

fn name(name: &str) -> String {
    format!("name.{}", escape(name))
}
