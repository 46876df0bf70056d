//! What is done to the processes, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use muster_testkit::Signal;
use tokio::time::{Instant, sleep};

use crate::load::next_page;
use crate::names::{AGENTS, FUNCTIONS, short};
use crate::site::Site;
use crate::timeline::Timeline;

/// Longer than the two seconds after which messages come again.
const BEYOND_ACK_WAIT: std::ops::Range<u64> = 2_500..5_000;
/// How long to wait for the moment at which to hit.
const MOMENT: Duration = Duration::from_secs(4);

/// Kinds of faults. Each round goes through all of them, in an order that the seed says, and from the start again.
const KINDS: [&str; 14] = [
    "kill a function in mid-expansion",
    "kill result-collector",
    "kill comms-api",
    "kill task-manager",
    "kill an agent that runs a program",
    "kill an agent",
    "kill nats-server",
    "stop a function",
    "stop result-collector",
    "stop comms-api",
    "stop task-manager",
    "kill a function",
    "kill a server node",
    "stop the fleet or an agent",
];

/// What is to be undone when its time comes.
enum Later {
    Start(usize),
    Wake(usize),
    WakeFleet,
    StartServer,
}

/// Hits processes of the site.
pub(crate) struct Faults<'a> {
    site: &'a mut Site,
    dice: Rng,
    timeline: Timeline,
    later: Vec<(Instant, Later)>,
    /// How often each kind was done.
    pub done: BTreeMap<String, u32>,
}

impl<'a> Faults<'a> {
    pub fn new(site: &'a mut Site, dice: Rng, timeline: Timeline) -> Self {
        Self { site, dice, timeline, later: Vec::new(), done: BTreeMap::new() }
    }

    /// Hits one process after another for so long, all kinds at least once if there is time, and leaves all running.
    pub async fn run(&mut self, span: Duration) -> Result<()> {
        let (end, mut kinds) = (Instant::now() + span, Vec::new());
        let pause = span.as_millis() as u64 / KINDS.len() as u64;
        while Instant::now() < end {
            self.undo(false).await?;
            if kinds.is_empty() {
                kinds = KINDS.to_vec();
                self.dice.shuffle(&mut kinds);
            }
            let kind = kinds.pop().unwrap_or(KINDS[0]);
            if self.hit(kind).await? {
                *self.done.entry(kind.to_owned()).or_default() += 1;
            }
            let pause = self.dice.u64(..pause.clamp(1, 2_000));
            self.wait(Duration::from_millis(pause)).await?;
        }
        self.undo(true).await
    }

    /// Waits, and undoes what is due meanwhile.
    async fn wait(&mut self, span: Duration) -> Result<()> {
        let end = Instant::now() + span;
        while Instant::now() < end {
            sleep(Duration::from_millis(20).min(end - Instant::now())).await;
            self.undo(false).await?;
        }
        Ok(())
    }

    /// One fault; false when its moment did not come.
    async fn hit(&mut self, kind: &str) -> Result<bool> {
        let function = FUNCTIONS[self.dice.usize(..FUNCTIONS.len())].0;
        match kind {
            "kill a function in mid-expansion" => return self.mid_expansion().await,
            "kill an agent that runs a program" => return self.mid_run().await,
            "kill nats-server" => return self.server().await,
            "kill an agent" => self.kill_one("agent")?,
            "kill a function" => self.kill_one(function)?,
            "kill a server node" => self.kill_one("server")?,
            "stop a function" => self.stop_one(function)?,
            "stop the fleet or an agent" => match self.dice.bool() {
                true => self.stop_one("agent")?,
                false => {
                    self.site.fleet.signal(Signal::STOP)?;
                    self.timeline.say("stopped the fleet");
                    self.after(BEYOND_ACK_WAIT, Later::WakeFleet);
                }
            },
            other => match other.split_once(' ') {
                Some(("kill", service)) => self.kill_one(service)?,
                Some((_, service)) => self.stop_one(service)?,
                None => {}
            },
        }
        Ok(true)
    }

    fn after(&mut self, millis: std::ops::Range<u64>, later: Later) {
        let at = Instant::now() + Duration::from_millis(self.dice.u64(millis));
        self.later.push((at, later));
    }

    fn choose(&mut self, kind: &str) -> usize {
        let places = self.site.of(kind);
        places[self.dice.usize(..places.len())]
    }

    fn kill_one(&mut self, kind: &str) -> Result<()> {
        let at = self.choose(kind);
        self.kill(at)
    }

    fn kill(&mut self, at: usize) -> Result<()> {
        let part = &mut self.site.parts[at];
        if !part.process.is_running()? {
            return Ok(());
        }
        part.process.kill()?;
        part.stopped = false;
        self.timeline.say(format!("killed {}", part.name));
        self.after(0..1_500, Later::Start(at));
        Ok(())
    }

    fn stop_one(&mut self, kind: &str) -> Result<()> {
        let at = self.choose(kind);
        let part = &mut self.site.parts[at];
        if part.stopped || !part.process.is_running()? {
            return Ok(());
        }
        part.process.signal(Signal::STOP)?;
        part.stopped = true;
        self.timeline.say(format!("stopped {}", part.name));
        self.after(BEYOND_ACK_WAIT, Later::Wake(at));
        Ok(())
    }

    /// All copies of the function whose page was stored just now.
    async fn mid_expansion(&mut self) -> Result<bool> {
        let client = self.site.system.client.clone();
        let Some((task, n)) = next_page(&client, MOMENT).await else { return Ok(false) };
        let kind = FUNCTIONS.iter().map(|(kind, _)| *kind).find(|kind| task.ends_with(&format!("-{}", short(kind))));
        let Some(kind) = kind else { return Ok(false) };
        self.timeline.say(format!("page {n} of {task} is stored"));
        for at in self.site.of(kind) {
            self.kill(at)?;
        }
        Ok(true)
    }

    /// An agent whose program has just written its line: it has started, and not reported.
    async fn mid_run(&mut self) -> Result<bool> {
        let before = AGENTS.map(|name| self.site.lines(name));
        let end = Instant::now() + MOMENT;
        while Instant::now() < end {
            for at in self.site.of("agent") {
                let name = self.site.parts[at].name.clone();
                let of = AGENTS.iter().position(|agent| *agent == name).unwrap_or_default();
                if self.site.lines(&name) > before[of] && self.site.parts[at].process.is_running()? {
                    sleep(Duration::from_millis(self.dice.u64(..250))).await;
                    self.kill(at)?;
                    return Ok(true);
                }
            }
            sleep(Duration::from_millis(5)).await;
            self.undo(false).await?;
        }
        Ok(false)
    }

    async fn server(&mut self) -> Result<bool> {
        if self.later.iter().any(|(_, later)| matches!(later, Later::StartServer)) {
            return Ok(false);
        }
        self.site.system.server.kill().await?;
        self.timeline.say("killed nats-server");
        self.after(0..2_000, Later::StartServer);
        Ok(true)
    }

    /// Starts and wakes what is due, or all.
    async fn undo(&mut self, all: bool) -> Result<()> {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| all || *at <= now);
        self.later = later;
        for (_, what) in due {
            match what {
                Later::Start(at) => {
                    let (kind, name) = (self.site.parts[at].kind.clone(), self.site.parts[at].name.clone());
                    self.site.parts[at].process = self.site.launch(&kind, &name)?;
                    self.timeline.say(format!("started {name}"));
                }
                Later::Wake(at) => {
                    let part = &mut self.site.parts[at];
                    // It may have been killed meanwhile.
                    if part.stopped {
                        part.process.signal(Signal::CONT)?;
                        part.stopped = false;
                        self.timeline.say(format!("woke {}", part.name));
                    }
                }
                Later::WakeFleet => {
                    self.site.fleet.signal(Signal::CONT)?;
                    self.timeline.say("woke the fleet");
                }
                Later::StartServer => {
                    self.site.system.server.restart().await?;
                    self.timeline.say("started nats-server");
                }
            }
        }
        Ok(())
    }
}
