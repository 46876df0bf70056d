//! Does what a hand-over says, one command after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::Client;
use muster_core::lane::Lane;
use muster_core::message::{Action, BodyAnswer, HandOver, Outcome};
use muster_core::names::agent_name_fault;
use serde_json::{Value, json};

use crate::configurator::Configurator;
use crate::disk::{DiskLedger, Enrolment, Identity, Root};
use crate::jobs::{Jobs, Said};
use crate::link::ask;
use crate::modules::active_response::ActiveResponses;
use crate::modules::sca::{Sca, Wanted};
use crate::modules::vulnerabilities::Vulnerabilities;
use crate::rules::outcome::{INVALID, NOT_APPLIED, UNKNOWN, outcome};
use crate::rules::{Abilities, Core, InForce, Single, Step, Target};
use crate::upgrade::{Gateway, Upgrades};

/// What this agent can carry out.
pub const ABILITIES: Abilities = Abilities {
    lanes: &[
        Lane::GROUPS,
        Lane::CONFIG,
        Lane::NAME,
        Lane::VERSION,
        Lane::SCA,
        Lane::SCA_CONTENT,
        Lane::ACTIVE_RESPONSE,
        Lane::RESCAN,
    ],
    actions: &[Action::DISCONNECT, Action::RUN_ACTIVE_RESPONSE],
};

/// The agent's rules, and the hands that carry them out.
pub struct Worker {
    pub core: Core<DiskLedger>,
    pub configurator: Configurator,
    pub responses: ActiveResponses,
    pub sca: Sca,
    pub vulnerabilities: Vulnerabilities,
    pub jobs: Jobs,
    pub client: Client,
    pub root: Root,
    pub identity: Identity,
    pub enrolment: Enrolment,
    /// Whether contents that are in force are missing on disk.
    pub short: bool,
    /// What changes the agent's program; none when nobody would start another one.
    pub upgrades: Option<Upgrades>,
}

impl Worker {
    /// The subject `agent.<id>.<what>`.
    pub fn subject(&self, what: &str) -> String {
        format!("agent.{}.{what}", self.enrolment.id)
    }

    /// The hello was answered: a version that was tried has proven itself. To be called before what the answer says is done.
    ///
    /// # Errors
    /// When that cannot be written: the agent must not go on.
    pub fn greeted(&mut self) -> anyhow::Result<()> {
        if let Some(upgrades) = &self.upgrades
            && let Some((single, done)) = upgrades.greeted()?
        {
            self.core.done(single, done)?;
            upgrades.told()?;
        }
        Ok(())
    }

    /// Carries out a hand-over. True when the agent must sync soon.
    ///
    /// # Errors
    /// When the ledger cannot be written: the agent must not go on.
    pub async fn take_in(&mut self, hand_over: HandOver) -> anyhow::Result<bool> {
        let mut sync = self.core.heard(&hand_over)?;
        if self.short {
            sync |= self.follow().await;
        }
        if let Some(name) = hand_over.name {
            self.rename(name)?;
        }
        for command in hand_over.commands {
            let (task, action) = (command.request_id.clone(), command.action.name.clone());
            for step in self.core.take(command)? {
                sync |= match step {
                    Step::Set(target) => self.set(&task, &action, target, &hand_over.bodies).await?,
                    Step::Lane(single) => self.lane(single, &hand_over.bodies).await?,
                    Step::Run { task, action, timeout, .. } => {
                        self.run(task, &action, Duration::from_secs(timeout))?;
                        false
                    }
                    Step::Sync => true,
                };
            }
        }
        Ok(sync)
    }

    /// Puts groups and configurations in force.
    async fn set(
        &mut self,
        task: &str,
        action: &str,
        target: Target,
        bodies: &BTreeMap<String, String>,
    ) -> anyhow::Result<bool> {
        if let Err(why) = self.fetch(&target.state, bodies).await {
            tracing::warn!(task, action, %why, "a content is not to be had now; it is asked for again");
            return Ok(true);
        }
        let before = self.core.state().in_force.clone();
        let done = self.configurator.put(&target.state, &before).await;
        match &done {
            Ok(()) => tracing::info!(task, action, groups = ?target.state.groups, "in force"),
            Err(why) => tracing::warn!(task, action, why = why.message, "the last good one stays in force"),
        }
        let sync = self.core.set(target, done)?;
        Ok(sync | self.follow().await)
    }

    /// Loads the contents that are in force, drops all others, and asks for those that are not on disk because the
    /// configuration had disabled them. True when some are not to be had now.
    pub async fn follow(&mut self) -> bool {
        let mut missing = self.configurator.follow(self.core.state());
        // What an SCA content consists of is known when its manifest is there.
        for _ in 0..2 {
            if missing.is_empty() {
                break;
            }
            for digest in missing {
                if let Err(why) = self.body(&digest, &BTreeMap::new()).await {
                    tracing::warn!(digest, %why, "a content is not to be had now; it is asked for again");
                }
            }
            missing = self.configurator.follow(self.core.state());
        }
        self.sca.follow(Wanted::of(self.configurator.modules()));
        self.short = !missing.is_empty();
        self.short
    }

    /// Carries out an edge command, or begins to.
    fn run(&mut self, task: String, action: &Action, timeout: Duration) -> anyhow::Result<()> {
        let done = match action.name.as_str() {
            Action::DISCONNECT => {
                let deleted = Enrolment { deleted: true, ..self.enrolment.clone() };
                self.identity.keep(&self.root, deleted.clone())?;
                self.enrolment = deleted;
                Outcome::default()
            }
            Action::RUN_ACTIVE_RESPONSE => {
                let order = format!("{task}:{}", self.enrolment.id);
                let (modules, groups) = (self.configurator.modules(), &self.core.state().in_force.groups);
                let response = |name: &str| modules.response(groups, name).cloned();
                let repeated = modules.repeated_offenders.clone();
                let running = self.responses.run(order, &action.args, timeout, repeated, response);
                self.jobs.run(task, running);
                return Ok(());
            }
            unknown => outcome(UNKNOWN, format!("unknown command: {unknown}")),
        };
        Ok(self.core.finished(&task, done)?)
    }

    /// Puts one lane in force, or begins to. True when its content is not to be had now.
    async fn lane(&mut self, single: Single, bodies: &BTreeMap<String, String>) -> anyhow::Result<bool> {
        if !self.core.wants(&single) || self.jobs.has(&single) {
            return Ok(false);
        }
        if let Some(digest) = &single.entry.digest
            && let Err(why) = self.content(&single.lane, digest, bodies).await
        {
            tracing::warn!(lane = %single.lane, %why, "a content is not to be had now; it is asked for again");
            return Ok(true);
        }
        let done = match single.lane.kind() {
            Lane::NAME => self.named(&single)?,
            Lane::RESCAN => {
                let scanning = self.vulnerabilities.scan(&single);
                self.jobs.lane(single, scanning);
                return Ok(false);
            }
            Lane::SCA | Lane::SCA_CONTENT | Lane::ACTIVE_RESPONSE => self.configurator.check_content(&single),
            Lane::VERSION => match self.upgrade(&single) {
                Ok(()) => return Ok(false),
                Err(why) => Err(why),
            },
            kind => Err(outcome(UNKNOWN, format!("unknown lane: {kind}"))),
        };
        self.done(single, done).await
    }

    /// Begins to bring the agent to another version.
    fn upgrade(&mut self, single: &Single) -> Result<(), Outcome> {
        let Some(upgrades) = &self.upgrades else {
            let why = "no supervisor would start another version; run this agent with the program muster-agent";
            return Err(outcome(NOT_APPLIED, why));
        };
        let body = single.entry.digest.as_ref().and_then(|digest| self.configurator.contents().get(digest));
        let body = body.ok_or_else(|| outcome(INVALID, "the lane names no upgrade"))?;
        let source = Gateway { client: self.client.clone(), subject: self.subject("package") };
        self.jobs.lane(single.clone(), upgrades.put(single.clone(), body, source));
        Ok(())
    }

    /// Says what came of a lane.
    async fn done(&mut self, single: Single, done: Result<Value, Outcome>) -> anyhow::Result<bool> {
        let lane = single.lane.to_string();
        match &done {
            Ok(_) => tracing::info!(lane, task = single.entry.task, "in force"),
            Err(why) => tracing::warn!(lane, task = single.entry.task, why = why.message, "what was in force stays"),
        }
        self.core.done(single, done)?;
        Ok(self.follow().await)
    }

    /// Takes in what a job says. True when the agent must sync soon.
    ///
    /// # Errors
    /// When the ledger cannot be written: the agent must not go on.
    pub async fn heard(&mut self, said: Said) -> anyhow::Result<bool> {
        match said {
            Said::Started(single) => self.core.started(&single)?,
            Said::Began(task) => self.core.began(&task)?,
            Said::Lane(single, done) => return self.done(single, done).await,
            Said::Run(task, outcome) => self.core.finished(&task, outcome)?,
        }
        Ok(false)
    }

    fn named(&mut self, single: &Single) -> anyhow::Result<Result<Value, Outcome>> {
        let Some(name) = single.args["name"].as_str().filter(|name| agent_name_fault(name).is_none()) else {
            return Ok(Err(outcome(INVALID, "/name: the name of an agent is needed")));
        };
        self.rename(name.to_owned())?;
        Ok(Ok(json!({ "name": name })))
    }

    /// Sees to it that the configurations of a state are on disk.
    async fn fetch(&self, state: &InForce, bodies: &BTreeMap<String, String>) -> anyhow::Result<()> {
        for (group, digest) in &state.configurations {
            self.body(digest, bodies).await.with_context(|| format!("group {group}"))?;
        }
        Ok(())
    }

    /// Sees to it that the content of a lane is on disk, with all that it consists of.
    async fn content(&self, lane: &Lane, digest: &str, bodies: &BTreeMap<String, String>) -> anyhow::Result<()> {
        self.body(digest, bodies).await?;
        for part in self.configurator.parts(lane, digest) {
            self.body(&part, bodies).await?;
        }
        Ok(())
    }

    /// Sees to it that a content is on disk: it is there, came along, or is asked for.
    async fn body(&self, digest: &str, bodies: &BTreeMap<String, String>) -> anyhow::Result<()> {
        let contents = self.configurator.contents();
        if contents.get(digest).is_some() {
            return Ok(());
        }
        if let Some(body) = bodies.get(digest)
            && contents.put(digest, body)?
        {
            return Ok(());
        }
        let answer: BodyAnswer = ask(&self.client, self.subject(&format!("content.{digest}")), &()).await?;
        anyhow::ensure!(contents.put(digest, &answer.content)?, "the gateway's content is not {digest}");
        Ok(())
    }

    fn rename(&mut self, name: String) -> anyhow::Result<()> {
        if name == self.enrolment.name || agent_name_fault(&name).is_some() {
            return Ok(());
        }
        tracing::info!(from = self.enrolment.name, to = name, "the agent has another name");
        self.enrolment.name = name;
        self.identity.keep(&self.root, self.enrolment.clone())
    }
}
