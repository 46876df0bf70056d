//! What all processes of a world share: the broker, the time, who is reachable, and what is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use muster_broker::memory::MemoryBroker;
use muster_broker::{Broker, Clock, Fault, kv};
use muster_comms_api::{Asks, Gateway, Request};
use muster_core::instant::Instant;
use muster_core::numbers::Numbers;
use muster_core::record::agent_number;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant as Moment, sleep, timeout};

use crate::agent::Event;
use crate::chance::Chance;
use crate::monitor::Monitor;
use crate::process::Process;
use crate::sabotage::Sabotage;
use crate::settings::Settings;
use crate::truth::Truth;

/// How long an agent waits for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// When every world begins.
const BEGIN: Instant = Instant(1_800_000_000_000);

/// The surroundings of a world's processes.
pub struct Net {
    /// The broker, without faults.
    pub broker: MemoryBroker,
    /// What this world is like.
    pub settings: Settings,
    /// The rule that is switched off, if one is.
    pub sabotage: Option<Sabotage>,
    /// What the agents did.
    pub truth: Truth,
    /// What is watched all the time.
    pub monitor: Monitor,
    began: Moment,
    faults: AtomicBool,
    epoch: AtomicU32,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    down_until: Option<Moment>,
    gateways: BTreeMap<String, (Arc<Process>, Arc<Gateway>)>,
    mailboxes: BTreeMap<String, mpsc::UnboundedSender<Event>>,
    /// Deleted agents whose connections were closed: they are not let in again.
    barred: BTreeSet<String>,
    timeline: Vec<String>,
    violations: Vec<String>,
}

impl Net {
    /// Empty surroundings.
    ///
    /// # Errors
    /// [`Fault::Refused`] when the topology cannot be modelled.
    pub fn new(settings: Settings, sabotage: Option<Sabotage>) -> Result<Arc<Self>, Fault> {
        let began = Moment::now();
        let broker = MemoryBroker::new(Arc::new(ServerClock(began)))?;
        Ok(Arc::new(Self {
            broker,
            settings,
            sabotage,
            truth: Truth::default(),
            monitor: Monitor::default(),
            began,
            faults: AtomicBool::new(true),
            epoch: AtomicU32::new(0),
            inner: Mutex::default(),
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's time.
    pub fn now(&self) -> Instant {
        BEGIN.plus(self.began.elapsed())
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether anything still goes wrong.
    pub fn faulty(&self) -> bool {
        self.faults.load(Ordering::Relaxed)
    }

    /// From now on nothing goes wrong any more.
    pub fn calm(&self) {
        self.faults.store(false, Ordering::Relaxed);
    }

    /// How often the server was restored.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// The server is a restored one from now on, as the first process that starts sees it.
    pub fn next_epoch(&self) -> u32 {
        self.monitor.restored();
        self.epoch.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Writes down what happens, if somebody wants to read it.
    pub fn note(&self, who: &str, what: impl FnOnce() -> String) {
        if self.settings.timeline {
            let line = format!("{:>10.3} {who:<22} {}", self.elapsed().as_secs_f64(), what());
            self.inner().timeline.push(line);
        }
    }

    /// Something is not as it must be.
    pub fn violation(&self, what: String) {
        self.note("VIOLATION", || what.clone());
        self.inner().violations.push(what);
    }

    /// What was found and what has happened.
    pub fn found(&self) -> (Vec<String>, Vec<String>) {
        let mut inner = self.inner();
        (std::mem::take(&mut inner.violations), std::mem::take(&mut inner.timeline))
    }

    /// Whether the server is away.
    pub fn is_down(&self) -> bool {
        self.inner().down_until.is_some_and(|until| until > Moment::now())
    }

    /// The server goes away and comes back.
    pub async fn restart_server(&self, away: Duration) {
        self.note("server", || format!("away for {away:?}"));
        self.inner().down_until = Some(Moment::now() + away);
        sleep(away).await;
        self.broker.restart();
        self.note("server", || "back".into());
    }

    /// A gateway answers agents from now on.
    pub fn opens(&self, process: &Arc<Process>, gateway: Arc<Gateway>) {
        self.inner().gateways.insert(process.name.clone(), (process.clone(), gateway));
    }

    /// An agent listens from now on; false when it is not let in.
    pub fn connects(&self, agent: &str, mailbox: mpsc::UnboundedSender<Event>) -> bool {
        let mut inner = self.inner();
        let admitted = !inner.barred.contains(agent);
        if admitted {
            inner.mailboxes.insert(agent.to_owned(), mailbox);
        }
        admitted
    }

    /// An agent does not listen any more.
    pub fn disconnects(&self, agent: &str) {
        self.inner().mailboxes.remove(agent);
    }

    /// Closes the connection of a deleted agent; true when one stood.
    pub fn bars(&self, agent: &str) -> bool {
        let mut inner = self.inner();
        inner.barred.insert(agent.to_owned());
        inner.mailboxes.remove(agent).is_some()
    }

    /// Whether an agent listens.
    pub fn is_connected(&self, agent: &str) -> bool {
        self.inner().mailboxes.contains_key(agent)
    }

    /// Gives something to an agent that listens.
    pub fn deliver(&self, agent: &str, event: Event) -> bool {
        let mailbox = self.inner().mailboxes.get(agent).cloned();
        mailbox.is_some_and(|mailbox| mailbox.send(event).is_ok())
    }

    /// Whether an agent is among the recipients of a task, or may come to be.
    pub async fn is_recipient(&self, task: &str, agent: &str) -> bool {
        let at = |key: &str| kv::subject("agents", key);
        let found = self.broker.get("KV_agents", &at(&format!("recipients.{task}.0"))).await;
        let numbers = found.ok().flatten().and_then(|entry| Numbers::decode(&entry.body?).ok());
        match (numbers, agent_number(agent)) {
            (Some(numbers), Some(number)) => numbers.contains(number),
            _ => true,
        }
    }

    /// Asks one of the gateways; none when no answer comes.
    pub async fn ask(self: &Arc<Self>, chance: &Chance, request: Request, payload: Vec<u8>) -> Option<Bytes> {
        sleep(chance.span(0, 3)).await;
        let gateways: Vec<_> = self.inner().gateways.values().filter(|(p, _)| !p.is_dead()).cloned().collect();
        let lost = self.faulty() && chance.hits(self.settings.losses);
        let Some((process, gateway)) = chance.pick(&gateways).filter(|_| !lost && !self.is_down()) else {
            sleep(ANSWER).await;
            return None;
        };
        let (process, gateway) = (process.clone(), gateway.clone());
        let (sender, receiver) = oneshot::channel();
        let state = matches!(request, Request::Agent { asks: Asks::Hello | Asks::Sync, .. });
        let net = self.clone();
        // It is the gateway that works, also when the agent dies meanwhile.
        tokio::spawn(async move {
            process.gate().await;
            // A refusal is no answer that an agent could go on with.
            let answer = gateway.answer(request, &payload).await.ok();
            if let Some(Ok(hand_over)) = answer.as_ref().map(|answer| serde_json::from_slice(answer))
                && state
            {
                net.monitor.handed_over(&net, &process.name, &hand_over);
            }
            process.gate().await;
            let _ = sender.send(answer);
        });
        let answer = timeout(ANSWER, receiver).await.ok()?.ok()?;
        sleep(chance.span(0, 3)).await;
        if self.faulty() && chance.hits(self.settings.losses) {
            sleep(ANSWER).await;
            return None;
        }
        answer
    }
}

/// The server's clock.
struct ServerClock(Moment);

#[async_trait]
impl Clock for ServerClock {
    fn now(&self) -> Instant {
        BEGIN.plus(self.0.elapsed())
    }

    async fn sleep(&self, span: Duration) {
        sleep(span).await;
    }
}
