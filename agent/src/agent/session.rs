//! The agent and the gateway: pushes, syncs and reports, until the agent is stopped.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::{HeaderValue, Message, Subscriber};
use futures::StreamExt as _;
use muster_core::message::{Confirmed, HandOver, Report};
use muster_telemetry::trace::{self, Origin, Traced};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::End;
use super::timer::Timer;
use super::worker::Worker;
use crate::jobs::Said;
use crate::link::{Unanswered, ask};
use crate::rules::{About, Which};

/// How long a push waits for its results; then it gets a receipt, and the results follow.
const AT_ONCE: Duration = Duration::from_millis(500);
/// The largest hand-over that is looked at, in bytes.
const MAX_HAND_OVER: usize = 1024 * 1024;
/// Within this time after the connection came back the agent syncs.
const AFTER_RECONNECT: Duration = Duration::from_secs(5);
/// Within this time the gateway has confirmed what answered a push; else it is reported again.
const CONFIRMATION: Duration = Duration::from_secs(20);

/// What came of a question that was asked while the agent went on.
enum Asked {
    State(Result<HandOver, Unanswered>),
    Report(Result<Confirmed, Unanswered>),
}

/// A running agent.
pub struct Session {
    worker: Worker,
    about: About,
    connected: UnboundedReceiver<()>,
    asked: JoinSet<Asked>,
    /// Whether the hello was answered.
    greeted: bool,
    /// The next hello or sync.
    sync: Timer,
    /// Whether one is open.
    asking: bool,
    /// Whether another is to follow the open one.
    again: bool,
    /// The next report.
    report: Timer,
    /// Whether one is open.
    reporting: bool,
}

impl Session {
    pub fn new(worker: Worker, about: About, connected: UnboundedReceiver<()>) -> Self {
        Self {
            worker,
            about,
            connected,
            asked: JoinSet::new(),
            greeted: false,
            sync: Timer::now(),
            asking: false,
            again: false,
            report: Timer::now(),
            reporting: false,
        }
    }

    /// Runs until `stop` is cancelled, or another version is staged.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<End> {
        let staged = self.worker.upgrades.as_ref().map(|upgrades| upgrades.staged().clone()).unwrap_or_default();
        let mut end = End::Stopped;
        // Subscribed first: what is pushed from now on is not lost between the answer to the hello and the first push.
        let mut pushes = self.subscribe().await?;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                // An edge command that runs is not interrupted: it would not be started again.
                () = staged.cancelled(), if self.worker.jobs.runs() == 0 => {
                    end = End::Switch;
                    break;
                }
                push = pushes.next() => match push {
                    Some(push) => {
                        traced(&push).run(self.pushed(push)).await?;
                        if self.worker.enrolment.deleted {
                            tracing::warn!("this agent was deleted; it ends");
                            break;
                        }
                    }
                    None => pushes = self.subscribe().await?,
                },
                Some(()) = self.connected.recv() => {
                    if self.greeted {
                        self.sync.within(AFTER_RECONNECT);
                    }
                }
                Some(asked) = self.asked.join_next() => self.answered(asked.context("a question was given up")?).await?,
                said = self.worker.jobs.next() => self.job(said).await?,
                () = sleep_until(self.sync.due()), if !self.asking => self.ask_state(),
                () = sleep_until(self.report.due()), if !self.reporting && self.worker.core.reports() => {
                    self.send_report(Which::All);
                }
            }
        }
        self.asked.shutdown().await;
        self.worker.jobs.stop().await;
        self.worker.configurator.stop().await;
        self.worker.client.flush().await.context("the last messages were not sent")?;
        Ok(end)
    }

    async fn subscribe(&self) -> anyhow::Result<Subscriber> {
        let subject = self.worker.subject("command");
        let pushes = self.worker.client.subscribe(subject.clone()).await;
        pushes.with_context(|| format!("cannot subscribe to {subject}"))
    }

    /// A push is a request: its results, or a receipt, answer it.
    async fn pushed(&mut self, push: Message) -> anyhow::Result<()> {
        let hand_over = match read(&push.payload) {
            Ok(hand_over) => hand_over,
            Err(why) => {
                tracing::warn!(%why, "a push cannot be read; the next sync brings what it held");
                return Ok(());
            }
        };
        if let Some(command) = hand_over.commands.first() {
            trace::task(&command.request_id);
        }
        // The reply subject is input like any other: an answer goes to this agent's own subjects only.
        let own = self.worker.subject("rx.");
        let reply = push.reply.filter(|reply| reply.starts_with(&own));
        let receipt = self.worker.core.receipt();
        let client = self.worker.client.clone();
        let worked = {
            let mut work = Box::pin(self.worker.take_in(hand_over));
            match timeout(AT_ONCE, &mut work).await {
                Ok(worked) => (worked?, reply),
                Err(_) => {
                    if let Some(reply) = reply {
                        publish(&client, reply, &receipt).await;
                    }
                    (work.await?, None)
                }
            }
        };
        let (sync, reply) = worked;
        if sync {
            self.again |= self.asking;
            self.sync.hurry(false);
        }
        if let Some(reply) = reply {
            let report = self.worker.core.report(Which::New);
            publish(&client, reply, report.as_ref().unwrap_or(&receipt)).await;
            if report.is_some() {
                self.report.answered(Some(CONFIRMATION.as_secs()));
            }
        }
        if self.worker.core.has_new() {
            self.send_report(Which::New);
        }
        Ok(())
    }

    /// Takes in what a job says, and reports it.
    async fn job(&mut self, said: Said) -> anyhow::Result<()> {
        if self.worker.heard(said).await? {
            self.sync.hurry(false);
        }
        self.send_report(Which::New);
        Ok(())
    }

    /// Asks for the state of now: a hello first, then syncs.
    fn ask_state(&mut self) {
        self.asking = true;
        let (core, client) = (&self.worker.core, self.worker.client.clone());
        let digests = self.worker.configurator.digests();
        if self.greeted {
            let (subject, sync) = (self.worker.subject("sync"), core.sync(digests));
            self.asked.spawn(async move { Asked::State(ask(&client, subject, &sync).await) });
        } else {
            let (subject, hello) = (self.worker.subject("hello"), core.hello(&self.about, digests));
            self.asked.spawn(async move { Asked::State(ask(&client, subject, &hello).await) });
        }
    }

    /// Reports, unless a report is open; then the rest follows it.
    fn send_report(&mut self, which: Which) {
        if self.reporting {
            return;
        }
        let Some(report) = self.worker.core.report(which) else { return };
        self.reporting = true;
        let (client, subject) = (self.worker.client.clone(), self.worker.subject("result"));
        let asking = async move { Asked::Report(ask(&client, subject, &report).await) };
        self.asked.spawn(Traced::current().run(asking));
    }

    async fn answered(&mut self, asked: Asked) -> anyhow::Result<()> {
        match asked {
            Asked::State(Ok(hand_over)) => {
                if !self.greeted {
                    self.worker.greeted()?;
                }
                (self.greeted, self.asking) = (true, false);
                self.sync.answered(hand_over.sync_after);
                let more = hand_over.more;
                let sync = self.worker.take_in(hand_over).await? || std::mem::take(&mut self.again);
                if more || sync {
                    self.sync.hurry(more);
                } else {
                    self.sync.calm();
                }
                self.send_report(Which::New);
            }
            Asked::State(Err(why)) => {
                log_unanswered(&why, "hello or sync");
                self.asking = false;
                self.sync.unanswered();
            }
            Asked::Report(Ok(Confirmed { confirmed })) => {
                self.reporting = false;
                self.worker.core.confirmed(&confirmed)?;
                self.report.answered(Some(CONFIRMATION.as_secs()));
                self.send_report(Which::New);
            }
            Asked::Report(Err(why)) => {
                log_unanswered(&why, "report");
                self.reporting = false;
                self.report.unanswered();
            }
        }
        Ok(())
    }
}

/// What is done with a push is a part of the trace that it names, or linked to it.
fn traced(push: &Message) -> Traced {
    let headers = push.headers.as_ref();
    match Origin::of(|name| headers?.get(name).map(HeaderValue::as_str)) {
        Origin::None => Traced::nothing("agent", Origin::None),
        origin => Traced::process("agent", "agent.{agent}.command", origin),
    }
}

fn read(payload: &[u8]) -> Result<HandOver, String> {
    if payload.len() > MAX_HAND_OVER {
        return Err(format!("{} bytes; at most {MAX_HAND_OVER} are looked at", payload.len()));
    }
    serde_json::from_slice(payload).map_err(|error| error.to_string())
}

async fn publish(client: &async_nats::Client, reply: async_nats::Subject, report: &Report) {
    let sent = match serde_json::to_vec(report) {
        Ok(report) => client.publish(reply, report.into()).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = sent {
        // The results stay in the ledger and are reported again.
        tracing::debug!(%why, "the answer to a push was not sent");
    }
}

fn log_unanswered(why: &Unanswered, what: &str) {
    if why.is_temporary() {
        tracing::debug!(%why, what, "asking again");
    } else {
        tracing::warn!(%why, what, "the gateway refuses; asking again later");
    }
}
