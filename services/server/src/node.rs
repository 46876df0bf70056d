//! A node at work: it compares its record with what it has, at each command and at intervals, and reports.

use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::Client;
use muster_agent::disk::{Contents, DiskLedger, Root};
use muster_agent::jobs::{Jobs, Said};
use muster_agent::rules::outcome::{UNKNOWN, outcome};
use muster_agent::rules::{Abilities, Core, Single, State, Step, Which};
use muster_broker::{Bus, Fault, Write, decode, encode, kv, topology};
use muster_core::desired::catch_up;
use muster_core::fact::StoredResult;
use muster_core::fleet::Fleet;
use muster_core::lane::Lane;
use muster_core::message::{CommandResult, HandOver, Outcome, ReportStatus};
use muster_core::names::digest;
use muster_core::package::Package;
use muster_core::record::{Agent, Reported};
use muster_core::task::DELIVER_FOR;
use muster_runtime::Shell;
use muster_runtime::steps::Context;
use serde_json::{Value, json};
use tracing::{error, info, warn};

use crate::configuration::Configuration;
use crate::engine::Rules;
use crate::guard::Guard;
use crate::packages::Packages;
use crate::register::{Identity, record_at};
use crate::vulnerabilities::Vulnerabilities;

/// What a node can carry out.
const ABILITIES: Abilities = Abilities {
    lanes: &[Lane::SERVER_CONFIGURATION, Lane::PACKAGE, Lane::RBAC, Lane::RULESET, Lane::CVE_CONTENT],
    actions: &[],
};
/// So many commands are taken at once: each says only that the record is worth a look.
const PULLED: usize = 500;
const RESULTS: &str = "RESULTS";
/// Before the next attempt after a fault.
const PAUSE: Duration = Duration::from_secs(1);

/// A running node.
pub struct Node {
    context: Context,
    client: Client,
    identity: Identity,
    core: Core<DiskLedger>,
    contents: Contents,
    jobs: Jobs,
    configuration: Configuration,
    packages: Packages,
    guard: Guard,
    rules: Rules,
    vulnerabilities: Vulnerabilities,
}

impl Node {
    /// Puts what the ledger says in force.
    ///
    /// # Errors
    /// When the ledger cannot be written, or the bucket of roles not be read.
    pub async fn start(
        shell: &Shell,
        root: Root,
        identity: Identity,
        ledger: DiskLedger,
        state: State,
    ) -> anyhow::Result<Self> {
        let (configuration, identity_id) = (Configuration::start(), identity.id.clone());
        let packages = Packages::new(&shell.client, root.path(), configuration.watch());
        let guard = Guard::start(&shell.context.bus, &shell.client, &identity.id).await?;
        let settings = configuration.watch();
        let vulnerabilities = Vulnerabilities::start(&shell.client, &identity.id, root.path(), settings).await?;
        let mut node = Self {
            context: shell.context.clone(),
            client: shell.client.clone(),
            identity,
            core: Core::start(state, ledger, ABILITIES)?,
            contents: Contents::of(&root),
            jobs: Jobs::new(),
            configuration,
            packages,
            guard,
            rules: Rules::start(&shell.client, &identity_id).await?,
            vulnerabilities,
        };
        node.restore().await?;
        Ok(node)
    }

    /// Runs until the shell's shutdown.
    ///
    /// # Errors
    /// When its consumer cannot be made, the ledger cannot be written, or its record is gone.
    pub async fn run(mut self, shell: &Shell) -> anyhow::Result<()> {
        let consumer = topology::node_consumer(&self.client, &self.identity.id).await?;
        let mut deliveries = self.context.bus.subscribe("COMMANDS", &consumer, PULLED).await?;
        shell.ready.set(true);
        info!(node = self.identity.id, name = self.identity.name, "the node starts");
        let mut compare = self.context.clock.now();
        loop {
            let now = self.context.clock.now();
            if compare <= now {
                let pause = match self.compare(shell.epoch).await {
                    Ok(()) => self.configuration.now().sync_interval,
                    Err(Failed::Fault(fault)) => {
                        warn!(%fault, "the record was not compared; trying again");
                        PAUSE
                    }
                    Err(Failed::Ledger(error)) => return Err(error),
                };
                compare = self.context.clock.now().plus(pause);
            }
            tokio::select! {
                () = shell.shutdown.cancelled() => break,
                pulled = deliveries.next(PULLED) => match pulled {
                    Ok(Some(batch)) => match self.compare(shell.epoch).await {
                        Ok(()) => {
                            for delivery in batch {
                                let _ = delivery.settle.ack().await;
                            }
                        }
                        Err(Failed::Fault(fault)) => {
                            warn!(%fault, "commands come again");
                            for delivery in batch {
                                let _ = delivery.settle.nak(PAUSE).await;
                            }
                        }
                        Err(Failed::Ledger(error)) => return Err(error),
                    },
                    Ok(None) => bail!("the consumer {consumer} is gone"),
                    Err(fault) => {
                        warn!(%fault, "no commands can be pulled; trying again");
                        self.context.clock.sleep(PAUSE).await;
                    }
                },
                said = self.jobs.next() => self.heard(said).await?,
                () = self.context.clock.sleep(compare.since(now)) => {}
            }
        }
        deliveries.close().await;
        self.jobs.stop().await;
        Ok(())
    }

    /// Carries out what the record says and this node does not have yet, and reports.
    async fn compare(&mut self, epoch: u32) -> Result<(), Failed> {
        let (stream, subject) = record_at(&self.identity.id);
        let found = self.context.bus.get(&stream, &subject).await?.and_then(|entry| entry.body);
        let record: Agent = match found {
            Some(body) => decode(Fleet::Nodes.bucket(), &subject, &body)?,
            None => return Err(Failed::Ledger(anyhow::anyhow!("the record of node {} is gone", self.identity.id))),
        };
        self.core.heard(&HandOver { epoch: Some(epoch), ..HandOver::default() }).map_err(ledger)?;
        let until = self.context.clock.now().plus(DELIVER_FOR);
        let has = |lane: &Lane| self.core.state().lane(lane).map(|held| held.version);
        for command in catch_up(Fleet::Nodes, &record, &self.identity.id, has, until) {
            for step in self.core.take(command).map_err(ledger)? {
                // A node is in one group for ever and has no edge commands.
                if let Step::Lane(single) = step {
                    self.lane(single).await?;
                }
            }
        }
        tracing::debug!(version = %record.version, "the record was compared");
        self.report().await
    }

    /// Puts one lane in force, or begins to.
    async fn lane(&mut self, single: Single) -> Result<(), Failed> {
        if !self.core.wants(&single) || self.jobs.has(&single) {
            return Ok(());
        }
        let body = match &single.entry.digest {
            Some(of) => match body(&self.context.bus, &single.lane, of).await? {
                Some(body) => {
                    self.contents.put(of, &body).map_err(|error| Failed::Ledger(error.into()))?;
                    Some(body)
                }
                // It was stored before the record named it: a replica is behind, and the next look finds it.
                None => return Err(Fault::Unavailable(format!("the content {of} is not there")).into()),
            },
            None => None,
        };
        let done = match (single.lane.kind(), body) {
            (Lane::SERVER_CONFIGURATION, Some(text)) => {
                self.configuration.put(&text).map(|()| json!({ "digest": single.entry.digest }))
            }
            (Lane::PACKAGE, Some(text)) => {
                let fetching = self.packages.fetch(&text);
                self.jobs.lane(single, fetching);
                return Ok(());
            }
            (Lane::CVE_CONTENT, Some(text)) => {
                let following = self.vulnerabilities.follow(&text);
                self.jobs.lane(single, following);
                return Ok(());
            }
            (Lane::RULESET, Some(text)) => self.rules.put(single.entry.revision.unwrap_or_default(), text).await,
            (Lane::PACKAGE, None) => Ok(Value::Null),
            (Lane::RBAC, _) => self.guard.refresh(single.entry.revision.unwrap_or_default()).await?,
            (kind, _) => Err(outcome(UNKNOWN, format!("unknown lane: {kind}"))),
        };
        self.done(single, done).await
    }

    async fn done(&mut self, single: Single, done: Result<Value, Outcome>) -> Result<(), Failed> {
        let lane = single.lane.to_string();
        match &done {
            Ok(_) => info!(lane, task = single.entry.task, "in force"),
            Err(why) => warn!(lane, task = single.entry.task, why = why.message, "what was in force stays"),
        }
        self.core.done(single, done).map_err(ledger)?;
        self.keep().await.map_err(Failed::Ledger).map(drop)
    }

    /// Takes in what a job says.
    async fn heard(&mut self, said: Said) -> anyhow::Result<()> {
        let heard = match said {
            Said::Started(single) => self.core.started(&single).map_err(ledger),
            Said::Lane(single, done) => self.done(single, done).await,
            Said::Began(task) => self.core.began(&task).map_err(ledger),
            Said::Run(task, outcome) => self.core.finished(&task, outcome).map_err(ledger),
        };
        let reported = match heard {
            Ok(()) => self.report().await,
            failed => failed,
        };
        match reported {
            Err(Failed::Ledger(error)) => Err(error),
            Err(Failed::Fault(fault)) => {
                warn!(%fault, "the next comparison reports it");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Reports what is not confirmed. A result counts as confirmed when the stream has stored it.
    async fn report(&mut self) -> Result<(), Failed> {
        let (id, number) = (self.identity.id.clone(), self.identity.number());
        while let Some(report) = self.core.report(Which::All) {
            let tasks: Vec<String> = report.results.iter().map(|result| result.request_id.clone()).collect();
            let writes = report.results.into_iter().map(|result| stored(&id, number, result));
            self.context.bus.publish(RESULTS, writes.collect::<Result<_, _>>()?).await?;
            self.core.confirmed(&tasks).map_err(ledger)?;
        }
        let digests = self.core.state().in_force.contents.iter().cloned().collect();
        let said = Reported {
            version: env!("CARGO_PKG_VERSION").into(),
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            digests,
            seen: Some(self.context.clock.now()),
            ..Reported::default()
        };
        let bucket = Fleet::Nodes.bucket();
        let write = Write::new(kv::subject(bucket, &format!("reported.{id}")), encode(&said)?);
        Ok(self.context.bus.publish(&kv::stream(bucket), vec![write]).await?)
    }

    /// Puts what the ledger says in force again; what is not there any more is handed over anew.
    async fn restore(&mut self) -> anyhow::Result<()> {
        let mut whole = true;
        for (lane, of) in self.core.state().in_force.contents.clone() {
            whole &= match (lane.kind(), self.contents.get(&of)) {
                (Lane::SERVER_CONFIGURATION, Some(text)) => self.configuration.put(&text).is_ok(),
                // The revision was reported when it was taken; the next one tells its own.
                (Lane::RULESET, Some(text)) => self.rules.put(0, text).await.is_ok(),
                (Lane::CVE_CONTENT, Some(text)) => self.vulnerabilities.holds(&text),
                (_, text) => text.is_some(),
            };
        }
        if !(whole && self.keep().await?) {
            error!("what was in force is not all there; it is asked for again");
            self.core.forget()?;
        }
        Ok(())
    }

    /// Keeps and serves what is in force, and nothing else. False when a package is not there.
    async fn keep(&mut self) -> anyhow::Result<bool> {
        let contents = &self.core.state().in_force.contents;
        let manifests = contents.iter().filter(|(lane, _)| lane.kind() == Lane::PACKAGE);
        let texts = manifests.filter_map(|(_, of)| self.contents.get(of));
        let packages: Vec<Package> = texts.filter_map(|text| serde_json::from_str(&text).ok()).collect();
        self.packages.keep(&packages).await.context("the packages cannot be kept")
    }
}

/// Why something was not done.
enum Failed {
    /// The broker: it is tried again.
    Fault(Fault),
    /// The disk: the node must not go on.
    Ledger(anyhow::Error),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn ledger(fault: muster_agent::rules::LedgerFault) -> Failed {
    Failed::Ledger(fault.into())
}

/// The body with this digest, if it is stored and is what the digest says.
async fn body(bus: &Bus, lane: &Lane, of: &str) -> Result<Option<String>, Fault> {
    let Some((bucket, key)) = lane.body_at(of) else { return Ok(None) };
    let found = bus.get(&kv::stream(bucket), &kv::subject(bucket, &key)).await?.and_then(|entry| entry.body);
    let text = found.and_then(|body| String::from_utf8(body.into()).ok());
    Ok(text.filter(|text| digest(text.as_bytes()) == of))
}

fn stored(id: &str, number: u32, result: CommandResult) -> Result<Write, Fault> {
    let kind = if result.status == ReportStatus::InProgress { "starts" } else { "results" };
    let subject = format!("{kind}.{}.{id}", result.request_id);
    Ok(Write::new(subject, encode(&StoredResult::new(number, result))?))
}
