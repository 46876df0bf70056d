//! An agent: the product's rules and a disk, and hands that do as an agent's session does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_agent::rules::outcome::{NOT_APPLIED, outcome};
use muster_agent::rules::{Abilities, About, Core, Single, Step, Target, Which};
use muster_comms_api::{Asks, Request};
use muster_core::lane::Lane;
use muster_core::message::{BodyAnswer, Confirmed, Enrol, Enrolled, HandOver, Outcome, Report};
use muster_core::names::digest;
use muster_core::record::{agent_id, agent_number};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant as Moment, sleep, sleep_until};

use crate::chance::Chance;
use crate::disk::{DiskLedger, Shared};
use crate::net::Net;

const ABILITIES: Abilities = Abilities {
    lanes: &[Lane::GROUPS, Lane::CONFIG, Lane::NAME, Lane::ACTIVE_RESPONSE],
    actions: &["run-active-response", DISCONNECT],
};
const DISCONNECT: &str = "disconnect";
/// A result that was not confirmed by then is reported again.
const AGAIN: Duration = Duration::from_secs(8);

/// What happens to an agent.
pub enum Event {
    /// A push, and where its answer goes.
    Push(Bytes, oneshot::Sender<Bytes>),
    /// A message that needs no answer.
    Told(Bytes),
    /// The answer to a hello or sync; none when there was none.
    State(Option<HandOver>),
    /// The answer to a report.
    Confirmed(Option<Confirmed>),
    /// An edge command takes longer than a second.
    Began(String),
    /// An edge command is over.
    Ran(String, Outcome),
    /// The network is gone, or back.
    Online(bool),
}

/// An agent, over all its lives.
#[derive(Clone)]
pub struct Agent {
    /// Its place among the agents of the world.
    pub index: u64,
    /// Its disk.
    pub disk: Shared,
    /// Its chance.
    pub chance: Chance,
    net: Arc<Net>,
}

impl Agent {
    /// A new agent, which is not enrolled.
    pub fn new(net: &Arc<Net>, index: u64) -> Self {
        let chance = Chance::of(net.settings.seed, &format!("agent-{index}"));
        let disk = Shared::default();
        disk.disk().durable.id = format!("ledger-{index}");
        Self { index, disk, chance, net: net.clone() }
    }

    /// Its id, once it is enrolled.
    pub fn id(&self) -> Option<String> {
        self.disk.disk().number.map(agent_id)
    }

    fn name(&self) -> String {
        self.id().map_or_else(|| format!("agent-{}", self.index), |id| format!("agent {id}"))
    }

    /// Takes it off the network for a while.
    pub async fn offline(&self, span: Duration) {
        let Some(id) = self.id() else { return };
        self.net.deliver(&id, Event::Online(false));
        sleep(span).await;
    }

    /// Lives, and lives again after each crash, until it is told that it was deleted.
    pub async fn live(self) {
        self.enrol().await;
        loop {
            let state = self.disk.recover(&self.chance);
            let ledger = DiskLedger { net: self.net.clone(), disk: self.disk.clone(), chance: self.chance.clone() };
            self.net.note(&self.name(), || "starts".into());
            if let Ok(core) = Core::start(state, ledger, ABILITIES)
                && Life::new(self.clone(), core).run().await.is_ok()
            {
                return;
            }
            self.net.note(&self.name(), || "is killed".into());
            if let Some(id) = self.id() {
                self.net.disconnects(&id);
            }
            sleep(self.chance.span(100, 8000)).await;
        }
    }

    async fn enrol(&self) {
        // 55 characters of Base32 behind the U.
        let digits: String = format!("{:07}", self.index).bytes().map(|d| char::from(b'A' + (d - b'0'))).collect();
        let nkey = format!("U{}{digits}", "M".repeat(48));
        let question = Enrol { name: format!("agent-{}", self.index), version: "5".into(), os: "linux".into() };
        while self.id().is_none() {
            let request = Request::Enrol { nkey: nkey.clone() };
            let answer = self.net.ask(&self.chance, request, json(&question)).await;
            let enrolled = answer.and_then(|answer| serde_json::from_slice::<Enrolled>(&answer).ok());
            self.disk.disk().number = enrolled.and_then(|enrolled| agent_number(&enrolled.id));
            sleep(self.chance.span(10, 500)).await;
        }
        self.net.note(&self.name(), || format!("is enrolled as agent-{}", self.index));
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// The agent is killed.
struct Killed;

impl<E: std::error::Error> From<E> for Killed {
    fn from(_: E) -> Self {
        Self
    }
}

/// From one start to the next crash.
struct Life {
    agent: Agent,
    id: String,
    core: Core<DiskLedger>,
    tell: UnboundedSender<Event>,
    events: UnboundedReceiver<Event>,
    online: bool,
    greeted: bool,
    asking: bool,
    again: bool,
    reporting: bool,
    sync: Moment,
    report: Moment,
    offline_until: Moment,
}

impl Life {
    fn new(agent: Agent, core: Core<DiskLedger>) -> Self {
        let (tell, events) = unbounded_channel();
        let now = Moment::now();
        let id = agent.id().unwrap_or_default();
        Self {
            agent,
            id,
            core,
            tell,
            events,
            online: false,
            greeted: false,
            asking: false,
            again: false,
            reporting: false,
            sync: now,
            report: now,
            offline_until: now,
        }
    }

    fn net(&self) -> &Arc<Net> {
        &self.agent.net
    }

    /// Runs until it is deleted.
    async fn run(mut self) -> Result<(), Killed> {
        loop {
            if self.agent.disk.disk().deleted {
                self.net().disconnects(&self.id);
                return Ok(());
            }
            if !self.online && Moment::now() >= self.offline_until {
                // It listens first, then it says hello.
                self.online = self.net().connects(&self.id, self.tell.clone());
                self.greeted = false;
                self.sync = Moment::now();
                if !self.online {
                    // It is refused, and never concludes from that that it was deleted.
                    self.offline_until = Moment::now() + Duration::from_secs(60);
                }
            }
            let mut due = self.offline_until;
            if self.online {
                due = Moment::now() + Duration::from_secs(3600);
                if !self.asking {
                    due = due.min(self.sync);
                }
                if !self.reporting && self.core.reports() {
                    due = due.min(self.report);
                }
            }
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.happens(event).await?,
                () = sleep_until(due) => {}
            }
            if !self.online {
                continue;
            }
            if !self.asking && self.sync <= Moment::now() {
                self.ask_state();
            }
            if self.report <= Moment::now() && self.core.reports() {
                self.send_report(Which::All);
            }
        }
    }

    async fn happens(&mut self, event: Event) -> Result<(), Killed> {
        match event {
            Event::Online(online) => {
                self.online = online;
                self.net().disconnects(&self.id);
                self.offline_until = Moment::now() + self.agent.chance.span(500, 40_000);
            }
            Event::Push(push, reply) if self.online => {
                let Ok(hand_over) = serde_json::from_slice::<HandOver>(&push) else { return Ok(()) };
                let sync = self.take_in(hand_over).await?;
                self.sync_soon(sync);
                let report = self.core.report(Which::New).unwrap_or_else(|| self.core.receipt());
                if !report.results.is_empty() {
                    self.report = Moment::now() + AGAIN;
                }
                let _ = reply.send(json(&report).into());
            }
            Event::Told(told) if self.online => {
                let Ok(hand_over) = serde_json::from_slice::<HandOver>(&told) else { return Ok(()) };
                let sync = self.take_in(hand_over).await?;
                self.sync_soon(sync);
            }
            Event::State(None) => {
                self.asking = false;
                self.sync = Moment::now() + self.agent.chance.span(500, 4000);
            }
            Event::State(Some(hand_over)) => {
                (self.greeted, self.asking) = (true, false);
                let after = hand_over.sync_after.unwrap_or(60);
                self.sync = Moment::now() + Duration::from_secs(after);
                let more = hand_over.more;
                let sync = self.take_in(hand_over).await? || std::mem::take(&mut self.again);
                self.sync_soon(more || sync);
                self.send_report(Which::New);
            }
            Event::Confirmed(answer) => {
                self.reporting = false;
                self.report = Moment::now() + AGAIN;
                if let Some(Confirmed { confirmed }) = answer {
                    self.core.confirmed(&confirmed)?;
                    self.send_report(Which::New);
                }
            }
            Event::Began(task) => {
                self.core.began(&task)?;
                self.send_report(Which::New);
            }
            Event::Ran(task, outcome) => {
                self.core.finished(&task, outcome)?;
                self.send_report(Which::New);
            }
            Event::Push(..) | Event::Told(_) => {}
        }
        Ok(())
    }

    fn sync_soon(&mut self, sync: bool) {
        if sync {
            self.again |= self.asking;
            self.sync = self.sync.min(Moment::now() + self.agent.chance.span(100, 1500));
        }
    }

    /// Carries out a hand-over. True when it must sync soon.
    async fn take_in(&mut self, hand_over: HandOver) -> Result<bool, Killed> {
        let mut sync = self.core.heard(&hand_over)?;
        for command in hand_over.commands {
            let request = command.request_id.clone();
            let steps = self.core.take(command)?;
            self.net().note(&self.agent.name(), || format!("{request}: {steps:?}"));
            for step in steps {
                sync |= match step {
                    Step::Set(target) => self.set(&request, target, &hand_over.bodies).await?,
                    Step::Lane(single) => self.lane(single, &hand_over.bodies).await?,
                    Step::Run { task, action, .. } => {
                        self.begin(task, &action.name)?;
                        false
                    }
                    Step::Sync => true,
                };
            }
        }
        Ok(sync)
    }

    async fn set(&mut self, task: &str, target: Target, bodies: &BTreeMap<String, String>) -> Result<bool, Killed> {
        for (_, wanted) in &target.state.configurations {
            if !self.fetch(wanted, bodies).await {
                self.net().note(&self.agent.name(), || format!("has no content {wanted:.8} for {task}"));
                return Ok(true);
            }
        }
        let fails = self.net().faulty() && self.agent.chance.hits(self.net().settings.failures);
        let done = if fails { Err(outcome(NOT_APPLIED, "simulated")) } else { Ok(()) };
        self.net().note(&self.agent.name(), || format!("{task}: groups {:?}, {done:?}", target.state.groups));
        Ok(self.core.set(target, done)?)
    }

    async fn lane(&mut self, single: Single, bodies: &BTreeMap<String, String>) -> Result<bool, Killed> {
        if let Some(wanted) = &single.entry.digest
            && !self.fetch(wanted, bodies).await
        {
            return Ok(true);
        }
        let fails = self.net().faulty() && self.agent.chance.hits(self.net().settings.failures);
        let done = if fails { Err(outcome(100, "simulated")) } else { Ok(json!({ "lane": single.lane.to_string() })) };
        self.net().note(&self.agent.name(), || format!("{:?}: {} {done:?}", single.task(), single.lane));
        self.core.done(single, done)?;
        Ok(false)
    }

    async fn fetch(&self, wanted: &str, bodies: &BTreeMap<String, String>) -> bool {
        let has = |text: &str| digest(text.as_bytes()) == wanted;
        if self.agent.disk.disk().contents.contains(wanted) {
            return true;
        }
        let mut there = bodies.get(wanted).is_some_and(|text| has(text));
        if !there {
            let request = Request::Agent { id: self.id.clone(), asks: Asks::Content(wanted.to_owned()) };
            let answer = self.net().ask(&self.agent.chance, request, b"null".to_vec()).await;
            let answer = answer.and_then(|answer| serde_json::from_slice::<BodyAnswer>(&answer).ok());
            there = answer.is_some_and(|answer| has(&answer.content));
        }
        if there {
            self.agent.disk.disk().contents.insert(wanted.to_owned());
        }
        there
    }

    fn begin(&mut self, task: String, action: &str) -> Result<(), Killed> {
        let number = agent_number(&self.id).unwrap_or_default();
        let count = self.net().truth.runs(&task, number);
        self.net().note(&self.agent.name(), || format!("runs {task}: {action}"));
        if count > 1 {
            self.net().violation(format!("agent {} runs {task} for the {count}th time", self.id));
        }
        if action == DISCONNECT {
            self.core.finished(&task, Outcome::default())?;
            self.agent.disk.disk().deleted = true;
            return Ok(());
        }
        let (tell, chance) = (self.tell.clone(), self.agent.chance.clone());
        tokio::spawn(async move {
            let takes = if chance.hits(7000) { chance.span(0, 900) } else { chance.span(1000, 15_000) };
            if takes > Duration::from_secs(1) {
                sleep(Duration::from_secs(1)).await;
                let _ = tell.send(Event::Began(task.clone()));
            }
            sleep(takes).await;
            let fails = chance.hits(2000);
            let _ = tell.send(Event::Ran(task, if fails { outcome(100, "simulated") } else { Outcome::default() }));
        });
        Ok(())
    }

    fn ask_state(&mut self) {
        self.asking = true;
        let state = self.core.state();
        let in_force = state.in_force.configurations.iter();
        let digests = in_force.map(|(group, digest)| (Lane::config(group), digest.clone())).collect();
        let (asks, payload) = if self.greeted {
            (Asks::Sync, json(&self.core.sync(digests)))
        } else {
            let about = About { version: "5.0.0".into(), os: "linux".into(), ..About::default() };
            (Asks::Hello, json(&self.core.hello(&about, digests)))
        };
        self.ask(asks, payload, |answer| {
            let hand_over = answer.and_then(|answer| serde_json::from_slice::<HandOver>(&answer).ok());
            // A refusal has another form, and every field of a hand-over may be absent.
            Event::State(hand_over.filter(|hand_over| hand_over.epoch.is_some()))
        });
    }

    fn send_report(&mut self, which: Which) {
        if self.reporting || !self.online {
            return;
        }
        let Some(report) = self.core.report(which) else { return };
        self.reporting = true;
        self.report = Moment::now() + AGAIN;
        let report: Report = report;
        self.ask(Asks::Result, json(&report), |answer| {
            Event::Confirmed(answer.and_then(|answer| serde_json::from_slice(&answer).ok()))
        });
    }

    fn ask(&self, asks: Asks, payload: Vec<u8>, event: impl FnOnce(Option<Bytes>) -> Event + Send + 'static) {
        let request = Request::Agent { id: self.id.clone(), asks };
        let (net, chance, tell) = (self.net().clone(), self.agent.chance.clone(), self.tell.clone());
        tokio::spawn(async move {
            let answer = net.ask(&chance, request, payload).await;
            let _ = tell.send(event(answer));
        });
    }
}
