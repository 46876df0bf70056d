//! Step 4, decide: page by page, in the order of numbers; a page's decisions and changes are one batch.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use muster_broker::{Fault, Txn, decode, kv};
use muster_core::chain::{Page, Paged, Stored, key};
use muster_core::desired;
use muster_core::function::AgentView;
use muster_core::lane::Lane;
use muster_core::message::Command;
use muster_core::numbers::Numbers;
use muster_core::plan::{Decision, Plan};
use muster_core::record::{Agent, Reported, agent_id, agent_number};

use super::changes::record_key;
use super::members::Groups;
use super::{Chain, Decided, Job};

/// A page's batch has at most so many messages, with a margin below the broker's limit for the page itself: 900 of 1,000.
/// Half as many cost a rollout a fifth more time, and hardly help what waits beside it (docs/performance.md).
fn messages(job: &Job<'_>) -> usize {
    (job.context.bus.max_batch() / 10 * 9).max(1)
}

/// The pages of a task, those that are decided and then the new ones.
pub(super) struct Pages<'a> {
    job: &'a Job<'a>,
    plan: &'a Plan,
    recipients: &'a Numbers,
    found: VecDeque<Decided>,
    next: u32,
    after: Option<u32>,
    size: usize,
    ended: bool,
}

impl<'a> Pages<'a> {
    /// Goes on where the chain stands: its last two pages are given again.
    pub(super) fn resume(job: &'a Job<'a>, plan: &'a Plan, recipients: &'a Numbers, chain: Chain) -> Self {
        let next = chain.pages.first().map_or(0, |(n, _)| *n);
        let mut commands = chain.fresh.map(|fresh| fresh.commands);
        let pages = chain.pages.into_iter().map(|(_, page)| Decided { page, commands: commands.take() });
        let found = pages.collect();
        Self { job, plan, recipients, found, next, after: None, size: messages(job), ended: false }
    }

    /// The next page; none after the last one, and none after a stop.
    pub(super) async fn next(&mut self) -> Result<Option<(u32, Decided)>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let n = self.next;
        let decided = match self.found.pop_front() {
            Some(decided) => decided,
            None => self.decide(n).await?,
        };
        match &decided.page {
            Paged::Page(page) => {
                self.after = page.upto.or(self.after);
                self.ended = page.last;
            }
            Paged::Stop(_) => self.ended = true,
        }
        self.next = n + 1;
        Ok(Some((n, decided)))
    }

    async fn decide(&mut self, n: u32) -> Result<Decided, Fault> {
        for conflict in 1u32.. {
            let mut txn = self.job.txn();
            let (page, commands) =
                stage(self.job, self.plan, self.recipients, n, self.after, self.size, &mut txn).await?;
            match txn.commit().await {
                Ok(_) => {
                    self.job.progress.decided().await;
                    return Ok(Decided { page: Paged::Page(page), commands: Some(commands) });
                }
                Err(Fault::Conflict) => {}
                Err(fault) => return Err(fault),
            }
            let name = key::page(&self.job.task.id, n);
            if let Some(found) = super::chain::stored::<Paged>(self.job.context, self.job.fleet(), &name).await? {
                return Ok(Decided { page: found.decision, commands: None });
            }
            if conflict.is_multiple_of(3) {
                self.size = (self.size / 2).max(1);
            }
            self.job.context.clock.sleep(Duration::from_millis(u64::from(conflict.min(20)) * 5)).await;
        }
        Err(Fault::Conflict)
    }
}

/// Adds a page to a batch: as many recipients behind `after` as fit, at most `size`.
pub(super) async fn stage(
    job: &Job<'_>,
    plan: &Plan,
    recipients: &Numbers,
    n: u32,
    after: Option<u32>,
    size: usize,
    txn: &mut Txn,
) -> Result<(Page, Vec<Command>), Fault> {
    let numbers: Vec<u32> = recipients.after(after).take(size).collect();
    txn.load(numbers.iter().map(|number| record_key(*number))).await?;
    let reported = reported(job, &numbers).await?;
    let silent = Reported::default();
    let mut decisions = Vec::with_capacity(numbers.len());
    for number in &numbers {
        let agent: Option<Agent> = txn.get(&record_key(*number))?;
        // A record that stays as it is need not be checked: a decision not to change it is true of the moment of its
        // reading, and whoever changes it meanwhile takes what is in force now along.
        txn.unchecked(&record_key(*number));
        let said = reported.get(number).unwrap_or(&silent);
        decisions.push(agent.map(|agent| (decide(job, plan, &AgentView { desired: &agent, reported: said }), agent)));
    }
    let mut groups = Groups::load(job.fleet(), txn, &changing(&decisions)).await?;
    let mut page = Page { upto: numbers.last().copied(), last: true, ..Page::default() };
    let mut commands = Vec::new();
    for (number, decided) in numbers.iter().copied().zip(decisions) {
        let Some((outcome, mut agent)) = decided else {
            page.gone.insert(number);
            continue;
        };
        let decision = match outcome {
            Outcome::Gone => {
                page.gone.insert(number);
                continue;
            }
            Outcome::Mine => {
                page.commanded.insert(number);
                commands.push(desired::command(job.task, plan, &agent, &agent_id(number)));
                continue;
            }
            Outcome::Decision(Decision::Superseded(by)) => {
                page.superseded.entry(by).or_default().insert(number);
                continue;
            }
            Outcome::Decision(Decision::Skipped(reason)) => {
                page.skipped.entry(reason).or_default().insert(number);
                continue;
            }
            Outcome::Decision(decision) => decision,
        };
        let lane = plan.lane.clone().unwrap_or_else(|| Lane::of("run"));
        match desired::apply(&mut agent, &decision, job.task, &lane, |name| groups.alive(name)) {
            Err(group) => {
                page.skipped.entry(format!("group {group} is deleted")).or_default().insert(number);
                continue;
            }
            Ok(applied) => {
                groups.moved(number, &applied.joined, &applied.left);
                if agent.gone {
                    groups.buried(number, &agent.name);
                }
                for before in applied.replaced {
                    page.replaced.entry(before).or_default().insert(number);
                }
            }
        }
        page.commanded.insert(number);
        commands.push(desired::command(job.task, plan, &agent, &agent_id(number)));
        if !matches!(decision, Decision::Run) {
            txn.put_json(&record_key(number), &agent)?;
        }
        if txn.messages() + groups.messages() >= messages(job) {
            page.upto = Some(number);
            break;
        }
    }
    groups.store(txn);
    page.last = page.upto.is_none() || recipients.after(page.upto).next().is_none();
    txn.put_json(&key::page(&job.task.id, n), &Stored::new(job.at_delivery(), Paged::Page(page.clone())))?;
    Ok((page, commands))
}

enum Outcome {
    /// The agent was deleted.
    Gone,
    /// The lane carries this task already: it came with a group that the agent joined, or by a retry.
    Mine,
    /// What the function or the order of tasks says.
    Decision(Decision),
}

/// What these recipients said of themselves, where the function looks at it.
async fn reported(job: &Job<'_>, numbers: &[u32]) -> Result<HashMap<u32, Reported>, Fault> {
    const REPORTED: &str = "reported";
    let mut found = HashMap::new();
    if !job.bound.as_ref().is_ok_and(|bound| bound.looks_at_reports()) || job.task.retry.is_some() {
        return Ok(found);
    }
    let subjects: Vec<String> = numbers.iter().map(|number| kv::subject(REPORTED, &agent_id(*number))).collect();
    for entry in job.context.bus.get_many(&kv::stream(REPORTED), &subjects).await? {
        let number = kv::key(REPORTED, &entry.subject).and_then(agent_number);
        if let (Some(number), Some(body)) = (number, entry.body) {
            found.insert(number, decode(REPORTED, &entry.subject, &body)?);
        }
    }
    Ok(found)
}

fn decide(job: &Job<'_>, plan: &Plan, agent: &AgentView) -> Outcome {
    if agent.gone {
        return Outcome::Gone;
    }
    if let Some(by) = &plan.superseded_by {
        return Outcome::Decision(Decision::Superseded(by.clone()));
    }
    if let Some(lane) = &plan.lane {
        if let Some(by) = desired::overtaken_by(agent, lane, job.task.order) {
            return Outcome::Decision(Decision::Superseded(by));
        }
        if agent.lanes.get(lane).is_some_and(|entry| entry.task == job.task.id) {
            return Outcome::Mine;
        }
    }
    if let Some(retry) = &job.task.retry {
        return Outcome::Decision(super::retry::decide(retry, plan, agent));
    }
    match &job.bound {
        Ok(bound) => Outcome::Decision(bound.decide(plan, agent)),
        Err(_) => Outcome::Decision(Decision::Skipped("the task cannot be read".into())),
    }
}

/// The decisions that move agents between groups, with the records as they were.
fn changing(decisions: &[Option<(Outcome, Agent)>]) -> Vec<(&Decision, &Agent)> {
    decisions
        .iter()
        .flatten()
        .filter_map(|(outcome, agent)| match outcome {
            Outcome::Decision(decision @ (Decision::Groups(_) | Decision::Delete)) => Some((decision, agent)),
            _ => None,
        })
        .collect()
}
