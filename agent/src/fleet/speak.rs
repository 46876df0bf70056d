//! What agents of a fleet do with hand-overs, and what they say.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use muster_core::lane::Lane;
use muster_core::message::{BodyAnswer, Confirmed, HandOver, Outcome, Report};
use serde_json::Value;
use tokio::time::Instant;

use super::alarms::What;
use super::{Inner, digests};
use crate::link::{Unanswered, jittered, pause};
use crate::rules::outcome::{INVALID, NOT_APPLIED, outcome};
use crate::rules::{Core, Memory, Step, Target, Which};

/// The code of failures that the settings ask for.
const INJECTED: i32 = 100;
/// A result that was not confirmed is reported again after about this time.
const AGAIN: Duration = Duration::from_secs(30);
/// An agent syncs after about this time when no answer has told it.
const INTERVAL: Duration = Duration::from_secs(60);

impl Inner {
    /// A push is answered with its results, after the time that an agent takes for it.
    pub(super) async fn answer_push(self: Arc<Self>, index: u32, hand_over: HandOver, reply: Option<Subject>) {
        if !hand_over.commands.is_empty() {
            let latency = self.settings.latency + self.settings.jitter.mul_f64(fastrand::f64());
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
        }
        let id = self.agents[index as usize].id();
        let first = hand_over.commands.first().map(|command| command.request_id.clone());
        self.take_in(index, hand_over).await;
        let report = {
            let mind = &mut self.agents[index as usize].mind();
            mind.core.report(Which::New)
        };
        let own = format!("agent.{id}.rx.");
        match (reply.filter(|reply| reply.starts_with(&own)), report) {
            (Some(reply), report) => {
                let twice = first.is_some_and(|task| {
                    self.chance.hits(self.settings.duplicates, "twice", format_args!("{id}/{task}"))
                });
                if let Some(report) = &report {
                    self.alarms.set(Instant::now() + jittered(AGAIN), index, What::Report);
                    self.publish(index, reply.clone(), report).await;
                    if twice {
                        self.publish(index, reply, report).await;
                        Box::pin(self.report(index, report)).await;
                    }
                } else {
                    let receipt = self.agents[index as usize].mind().core.receipt();
                    self.publish(index, reply, &receipt).await;
                }
            }
            (None, Some(report)) => Box::pin(self.report(index, &report)).await,
            (None, None) => {}
        }
    }

    /// Hello or sync; true when it was answered.
    pub(super) async fn ask_state(self: Arc<Self>, index: u32) -> bool {
        let agent = &self.agents[index as usize];
        let (line, id) = (self.line(index), agent.id());
        let (hello, sync) = {
            let mind = agent.mind();
            let digests = digests(mind.core.state());
            if mind.greeted {
                (None, Some(mind.core.sync(digests)))
            } else {
                (Some(mind.core.hello(&self.about, digests)), None)
            }
        };
        let answer: Result<HandOver, Unanswered> = match (hello, sync) {
            (Some(hello), _) => line.ask(&id, format!("agent.{id}.hello"), &hello).await,
            (None, sync) => line.ask(&id, format!("agent.{id}.sync"), &sync).await,
        };
        let hand_over = match answer {
            Ok(hand_over) => hand_over,
            Err(why) => {
                tracing::debug!(%why, agent = id, "hello or sync");
                self.sync_in(index, jittered(AGAIN));
                return false;
            }
        };
        agent.mind().greeted = true;
        let interval = hand_over.sync_after.map_or(INTERVAL, Duration::from_secs).max(Duration::from_secs(1));
        let more = hand_over.more;
        self.sync_in(index, jittered(interval));
        if !self.take_in(index, hand_over).await && !more {
            agent.mind().hurried = 0;
        }
        if more {
            self.sync_in(index, Duration::from_millis(50));
        }
        let report = agent.mind().core.report(Which::New);
        if let Some(report) = report {
            self.report(index, &report).await;
        }
        true
    }

    /// Reports what is not confirmed.
    pub(super) async fn report_again(self: Arc<Self>, index: u32) {
        let report = self.agents[index as usize].mind().core.report(Which::All);
        if let Some(report) = report {
            self.report(index, &report).await;
        }
    }

    /// Carries out a hand-over; true when a sync must follow, which is then due soon.
    async fn take_in(&self, index: u32, hand_over: HandOver) -> bool {
        for (lane, entry) in hand_over.commands.iter().flat_map(|command| &command.sets) {
            let Some(digest) = &entry.digest else { continue };
            let ask = |digest| Box::pin(self.body(index, digest));
            let seen = self.contents.see(lane, digest, hand_over.bodies.get(digest), ask).await;
            if let Err(why) = seen {
                tracing::debug!(%why, digest, "a content is not to be had now");
            }
        }
        let (sync, hurried) = {
            let mut mind = self.agents[index as usize].mind();
            // A ledger in memory can always be written.
            let sync = mind.core.heard(&hand_over).unwrap_or_default()
                | hand_over.commands.into_iter().fold(false, |sync, command| {
                    let steps = mind.core.take(command).unwrap_or_default();
                    steps.into_iter().fold(sync, |sync, step| sync | self.carry_out(index, &mut mind.core, step))
                });
            mind.hurried += u32::from(sync);
            (sync, mind.hurried)
        };
        if sync {
            self.sync_in(index, pause(hurried as usize, Duration::from_millis(200)));
        }
        sync
    }

    /// Does what the rules say; true when a sync must follow.
    fn carry_out(&self, index: u32, core: &mut Core<Memory>, step: Step) -> bool {
        match step {
            Step::Set(target) => match self.put(index, &target) {
                // A ledger in memory can always be written.
                Some(done) => core.set(target, done).unwrap_or_default(),
                None => true,
            },
            Step::Lane(single) => {
                let digest = single.entry.digest.as_deref();
                let Ok(verdict) = digest.map_or(Ok(None), |digest| self.contents.verdict(&single.lane, digest)) else {
                    return true;
                };
                let tasks = single.task().into_iter();
                let done = match verdict {
                    Some(why) => {
                        let number = self.agents[index as usize].number;
                        self.counts.executed(number, tasks, false);
                        Err(outcome(INVALID, why))
                    }
                    None => self.outcome(index, tasks).map(|()| Value::Null),
                };
                let _ = core.done(single, done);
                false
            }
            Step::Run { task, .. } => {
                let done = self.outcome(index, [task.as_str()].into_iter());
                let _ = core.finished(&task, done.err().unwrap_or_default());
                false
            }
            Step::Sync => true,
        }
    }

    /// What comes of a state; `None` when it cannot be tried, for a content is missing.
    fn put(&self, index: u32, target: &Target) -> Option<Result<(), Outcome>> {
        let mut done = Ok(());
        for (group, digest) in &target.state.configurations {
            if let Some(why) = self.contents.verdict(&Lane::config(group), digest).ok()? {
                done = done.and(Err(outcome(NOT_APPLIED, format!("group {group}: {why}"))));
            }
        }
        if done.is_ok() {
            return Some(self.outcome(index, target.tasks()));
        }
        self.counts.executed(self.agents[index as usize].number, target.tasks(), false);
        Some(done)
    }

    /// Success, or the failure that the settings ask for; it is counted.
    fn outcome<'a>(&self, index: u32, tasks: impl Iterator<Item = &'a str> + Clone) -> Result<(), Outcome> {
        let number = self.agents[index as usize].number;
        let asked = tasks.clone().next().unwrap_or_default();
        let fails = self.chance.hits(self.settings.failures, "fail", format_args!("{number}/{asked}"));
        self.counts.executed(number, tasks, !fails);
        if fails { Err(outcome(INJECTED, "injected failure")) } else { Ok(()) }
    }

    async fn body(&self, index: u32, digest: String) -> anyhow::Result<String> {
        let id = self.agents[index as usize].id();
        let answer: BodyAnswer = self.line(index).ask(&id, format!("agent.{id}.content.{digest}"), &()).await?;
        Ok(answer.content)
    }

    fn sync_in(&self, index: u32, after: Duration) {
        let at = Instant::now() + after;
        self.agents[index as usize].mind().sync = Some(at);
        self.alarms.set(at, index, What::Sync);
    }

    /// Reports, takes what is confirmed, and reports again later what is not.
    async fn report(&self, index: u32, report: &Report) {
        let agent = &self.agents[index as usize];
        self.counts.reported(report);
        let id = agent.id();
        match self.line(index).ask::<Confirmed>(&id, format!("agent.{id}.result"), report).await {
            // A ledger in memory can always be written.
            Ok(Confirmed { confirmed }) => drop(agent.mind().core.confirmed(&confirmed)),
            Err(why) => tracing::debug!(%why, agent = agent.number, "a report was not confirmed"),
        }
        if agent.mind().core.reports() {
            self.alarms.set(Instant::now() + jittered(AGAIN), index, What::Report);
        }
    }

    async fn publish(&self, index: u32, reply: Subject, report: &Report) {
        self.counts.reported(report);
        let Ok(report) = serde_json::to_vec(report) else { return };
        if let Err(error) = self.client(index).publish(reply, report.into()).await {
            tracing::debug!(%error, "the answer to a push was not sent");
        }
    }
}
