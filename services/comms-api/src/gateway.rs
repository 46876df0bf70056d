//! The gateway: answers what agents ask, and takes in what they report. It knows streams, buckets, time and the way to
//! the agents only by their traits.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use muster_broker::{Bus, Fault, Link, encode};
use muster_core::desired::catch_up;
use muster_core::fleet::Fleet;
use muster_core::lane::Lane;
use muster_core::message::{BodyAnswer, Confirmed, Enrol, HandOver, Hello, Report, Sync};
use muster_core::problem::{Problem, Refusal};
use muster_core::record::{Agent, Entry, agent_number};
use muster_core::sca::Manifest;
use muster_core::stamp::Stamp;
use muster_core::task::DELIVER_FOR;
use muster_runtime::steps::Context;

use crate::bodies::{Bodies, Found};
use crate::deliver::Source;
use crate::enrol::Enrolments;
use crate::floor::Floor;
use crate::heard::{Heard, check_digests, check_hello};
use crate::identity::CutOff;
use crate::nodes::Nodes;
use crate::pace::{self, Allowances};
use crate::packages::Packages;
use crate::proven::{claims_version, proven};
use crate::records::Records;
use crate::refusal::{self, slow_down, unavailable, unknown_agent};
use crate::report::{self, document};
use crate::request::{Asks, Request};
use crate::results::Results;
use crate::scan::Scans;
use crate::{findings, hand_over, mailbox};

/// What an operator can set.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Agents sync about so often.
    pub sync_interval: Duration,
    /// The server's epoch.
    pub epoch: u32,
}

/// One copy of the gateway. All that it keeps is a cache: copies know nothing of each other.
pub struct Gateway {
    pub(crate) context: Context,
    link: Arc<dyn Link>,
    pub(crate) bodies: Bodies,
    pub(crate) results: Results,
    scans: Scans,
    settings: Settings,
    records: Records,
    enrolments: Enrolments,
    heard: Heard,
    floor: Floor,
    allowances: Allowances<u32>,
    finders: Allowances<u32>,
    parts: Allowances<u32>,
    scanned: Allowances<u32>,
    newcomer: Allowances<String>,
    newcomers: Allowances<()>,
    packages: Packages,
    cut_off: OnceLock<CutOff>,
    express: OnceLock<(Bus, Arc<dyn Link>)>,
    nodes: Arc<dyn Nodes>,
}

impl Gateway {
    /// A gateway that answers and stores; [`crate::deliver`] makes it hand over.
    pub fn start(context: &Context, link: Arc<dyn Link>, nodes: Arc<dyn Nodes>, settings: Settings) -> Self {
        Self {
            context: context.clone(),
            link,
            bodies: Bodies::new(&context.bus),
            results: Results::start(context),
            scans: Scans::new(&context.bus, nodes.clone()),
            settings,
            records: Records::start(context),
            enrolments: Enrolments::start(context, settings.epoch),
            heard: Heard::start(context),
            floor: Floor::default(),
            allowances: Allowances::new(pace::AGENT),
            finders: Allowances::new(pace::FINDINGS),
            parts: Allowances::new(pace::PARTS),
            scanned: Allowances::new(pace::SCANS),
            newcomer: Allowances::new(pace::NEWCOMER),
            newcomers: Allowances::new(pace::NEWCOMERS),
            packages: Packages::new(),
            cut_off: OnceLock::new(),
            express: OnceLock::new(),
            nodes,
        }
    }

    /// Lets it cut deleted agents off.
    pub fn cuts_off(&self, cut_off: CutOff) {
        let _ = self.cut_off.set(cut_off);
    }

    /// Gives edge commands connections of their own: on one that a rollout fills, each message waits for hundreds.
    pub fn express(&self, bus: Bus, link: Arc<dyn Link>) {
        let _ = self.express.set((bus, link));
    }

    /// By which connections a command goes.
    pub(crate) fn way(&self, source: Source) -> (&Bus, &Arc<dyn Link>) {
        match self.express.get() {
            Some((bus, link)) if source == Source::Runs => (bus, link),
            _ => (&self.context.bus, &self.link),
        }
    }

    /// The agents' records.
    pub(crate) const fn records(&self) -> &Records {
        &self.records
    }

    /// What cuts deleted agents off.
    pub(crate) fn cut_off(&self) -> Option<&CutOff> {
        self.cut_off.get()
    }

    /// Stores what has come in, and ends.
    pub async fn close(&self) {
        self.enrolments.close().await;
        self.results.close().await;
        self.heard.close().await;
        self.records.close().await;
    }

    /// The answer to a request: what was asked for, or a refusal.
    ///
    /// # Errors
    /// The refusal.
    pub async fn answer(&self, request: Request, payload: &[u8]) -> Result<Bytes, Refusal> {
        match request {
            Request::Enrol { nkey } => self.enrol(&nkey, payload).await,
            Request::Agent { id, asks } => self.agent(&id, asks, payload).await,
        }
    }

    /// Stores an agent's report, and gives the tasks whose results are stored.
    ///
    /// # Errors
    /// When it is not known that all are stored: the agent reports again.
    pub async fn take_in(&self, id: &str, number: u32, report: Report) -> Result<Vec<String>, Fault> {
        // Rare and large: it is kept out of what waits for each push.
        let report = if claims_version(&report) { Box::pin(proven(self, id, report)).await? } else { report };
        self.results.store(id, number, report).await
    }

    async fn enrol(&self, nkey: &str, payload: &[u8]) -> Result<Bytes, Refusal> {
        let now = self.context.clock.now();
        if !self.newcomer.take(nkey.to_owned(), now) || !self.newcomers.take((), now) {
            return Err(slow_down("there are too many enrolments"));
        }
        let enrolled = self.enrolments.enrol(nkey, document::<Enrol>(payload)?).await?;
        encode(&enrolled).map_err(unavailable)
    }

    async fn agent(&self, id: &str, asks: Asks, payload: &[u8]) -> Result<Bytes, Refusal> {
        let number = agent_number(id).ok_or_else(|| unknown_agent(id))?;
        let allowances = if asks == Asks::Package { &self.parts } else { &self.allowances };
        if !allowances.take(number, self.context.clock.now()) {
            return Err(slow_down("this agent asks too often"));
        }
        match asks {
            Asks::Hello => {
                let hello: Hello = document(payload)?;
                check_hello(&hello)?;
                let answer = self.catch_up(id, &hello.lanes).await?;
                self.heard.hello(id, self.context.clock.now(), hello);
                Ok(answer)
            }
            Asks::Sync => {
                let sync: Sync = document(payload)?;
                check_digests(&sync.digests)?;
                let answer = self.catch_up(id, &sync.lanes).await?;
                self.heard.sync(id, self.context.clock.now(), sync);
                Ok(answer)
            }
            Asks::Result => {
                let report = report::read(payload)?;
                let confirmed = self.take_in(id, number, report).await.map_err(unavailable)?;
                encode(&Confirmed { confirmed }).map_err(unavailable)
            }
            Asks::Config(group) => self.configuration(id, &group).await,
            Asks::Content(digest) => self.content(id, &digest).await,
            Asks::Packages => {
                let now = self.context.clock.now();
                if !self.scanned.take(number, now) {
                    return Err(slow_down("this agent asks for scans too often"));
                }
                self.scans.scan(id, &self.record(id).await?, payload, now).await
            }
            Asks::Findings(what) => {
                if !self.finders.take(number, self.context.clock.now()) {
                    return Err(slow_down("this agent reports findings too often"));
                }
                self.record(id).await?;
                findings::store(&self.context.bus, id, what, payload).await
            }
            Asks::Package => {
                let agent = self.record(id).await?;
                self.packages.part(self.nodes.as_ref(), &self.bodies, number, &agent, payload).await
            }
        }
    }

    async fn record(&self, id: &str) -> Result<Agent, Refusal> {
        let record = self.records.get(id).await.map_err(unavailable)?;
        record.filter(|agent| !agent.gone).ok_or_else(|| unknown_agent(id))
    }

    /// What brings an agent with these versions to the state of now, and the edge commands that wait for it.
    async fn catch_up(&self, id: &str, lanes: &BTreeMap<Lane, Stamp>) -> Result<Bytes, Refusal> {
        let agent = self.record(id).await?;
        self.hand_over(id, &agent, lanes).await.map_err(unavailable)
    }

    async fn hand_over(&self, id: &str, agent: &Agent, lanes: &BTreeMap<Lane, Stamp>) -> Result<Bytes, Fault> {
        let now = self.context.clock.now();
        let commands = catch_up(Fleet::Agents, agent, id, |lane| lanes.get(lane).copied(), now.plus(DELIVER_FOR));
        let mut messages = commands.iter().map(encode).collect::<Result<Vec<Bytes>, Fault>>()?;
        let taken = messages.iter().map(|message| message.len() + 1).sum();
        let sets = commands.iter().flat_map(|command| &command.sets);
        let floor = self.floor.get(&self.context).await?;
        let runs = mailbox::runs(&self.context.bus, id, now, floor.unwrap_or_default(), taken);
        let (bodies, runs) = tokio::try_join!(self.bodies.find(sets), runs)?;
        self.results.forget(runs.over);
        messages.extend(runs.messages);
        let rest = HandOver {
            name: Some(agent.name.clone()),
            floor,
            epoch: Some(self.settings.epoch),
            more: runs.more,
            sync_after: Some(jittered(self.settings.sync_interval, id, now.0)),
            ..HandOver::default()
        };
        hand_over::bytes(rest, &messages, hand_over::digests(&commands), &bodies)
    }

    /// The configuration of a group that the agent is in.
    async fn configuration(&self, id: &str, group: &str) -> Result<Bytes, Refusal> {
        let (agent, lane) = (self.record(id).await?, Lane::config(group));
        let entry = agent.lanes.get(&lane).filter(|entry| entry.digest.is_some()).ok_or_else(not_yours)?;
        self.answer_body(&lane, entry).await
    }

    /// A body that the agent's record names, or the manifest in it. Nobody sees the contents of groups that it is not in.
    async fn content(&self, id: &str, digest: &str) -> Result<Bytes, Refusal> {
        let agent = self.record(id).await?;
        if let Some((lane, entry)) = agent.lanes.iter().find(|(_, entry)| entry.digest.as_deref() == Some(digest)) {
            return self.answer_body(lane, entry).await;
        }
        let lane = Lane::of(Lane::SCA_CONTENT);
        let content = agent.lanes.get(&lane).filter(|entry| entry.digest.is_some()).ok_or_else(not_yours)?;
        let manifest = Manifest::read(&self.body(&lane, content).await?).map_err(|_| not_yours())?;
        let (lane, _) = manifest.bodies().find(|(_, named)| *named == digest).ok_or_else(not_yours)?;
        let entry = Entry { digest: Some(digest.to_owned()), revision: None, ..content.clone() };
        self.answer_body(&lane, &entry).await
    }

    async fn answer_body(&self, lane: &Lane, entry: &Entry) -> Result<Bytes, Refusal> {
        let content = self.body(lane, entry).await?;
        let digest = entry.digest.clone().unwrap_or_default();
        encode(&BodyAnswer { digest, revision: entry.revision, content }).map_err(unavailable)
    }

    /// The text that a lane's entry points to.
    async fn body(&self, lane: &Lane, entry: &Entry) -> Result<String, Refusal> {
        let digest = entry.digest.as_deref().unwrap_or_default();
        let found: Found = self.bodies.find([(lane, entry)].into_iter()).await.map_err(unavailable)?;
        let Some(json) = found.get(digest) else {
            let message = format!("the content {digest} of {lane} is not stored, or is damaged");
            return Err(refusal::whole("content-missing", message));
        };
        serde_json::from_slice(json).map_err(|e| unavailable(Fault::Refused(e.to_string())))
    }
}

fn not_yours() -> Refusal {
    vec![Problem::new("not-yours", "", "your desired state names no such content").hint("sync")]
}

/// Between three and five quarters of the interval, in seconds, so that agents that came together do not stay together.
fn jittered(interval: Duration, id: &str, now: i64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id, now).hash(&mut hasher);
    let seconds = interval.as_secs().max(4);
    seconds * 3 / 4 + hasher.finish() % (seconds / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_spread_around_the_interval() {
        let spread: std::collections::BTreeSet<u64> =
            (0..1000).map(|n| jittered(Duration::from_secs(300), &format!("{n:03}"), 1)).collect();
        assert!(spread.len() > 100 && spread.iter().all(|s| (225..375).contains(s)), "{spread:?}");
        assert!((3..5).contains(&jittered(Duration::ZERO, "001", 1)));
    }
}
