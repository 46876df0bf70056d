//! Does what a hand-over says, one command after the other.

use std::collections::BTreeMap;

use async_nats::Client;
use muster_core::lane::Lane;
use muster_core::message::{BodyAnswer, HandOver, Outcome};
use muster_core::names::agent_name_fault;
use serde_json::{Value, json};

use crate::configurator::Configurator;
use crate::disk::{DiskLedger, Enrolment, Identity, Root};
use crate::link::ask;
use crate::rules::outcome::{INVALID, UNKNOWN, outcome};
use crate::rules::{Abilities, Core, InForce, Single, Step, Target};

/// What this agent can carry out.
pub const ABILITIES: Abilities = Abilities { lanes: &[Lane::GROUPS, Lane::CONFIG, Lane::NAME], actions: &[DISCONNECT] };
/// The edge command that tells an agent that it was deleted.
const DISCONNECT: &str = "disconnect";

/// The agent's rules, and the hands that carry them out.
pub struct Worker {
    pub core: Core<DiskLedger>,
    pub configurator: Configurator,
    pub client: Client,
    pub root: Root,
    pub identity: Identity,
    pub enrolment: Enrolment,
}

impl Worker {
    /// The subject `agent.<id>.<what>`.
    pub fn subject(&self, what: &str) -> String {
        format!("agent.{}.{what}", self.enrolment.id)
    }

    /// Carries out a hand-over. True when the agent must sync soon.
    ///
    /// # Errors
    /// When the ledger cannot be written: the agent must not go on.
    pub async fn take_in(&mut self, hand_over: HandOver) -> anyhow::Result<bool> {
        let mut sync = self.core.heard(&hand_over)?;
        if let Some(name) = hand_over.name {
            self.rename(name)?;
        }
        for command in hand_over.commands {
            let (task, action) = (command.request_id.clone(), command.action.name.clone());
            for step in self.core.take(command)? {
                sync |= match step {
                    Step::Set(target) => self.set(&task, &action, target, &hand_over.bodies).await?,
                    Step::Lane(single) => self.lane(single).await?,
                    Step::Run { task, action, .. } => {
                        self.run(&task, &action.name)?;
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
        self.configurator.tidy(self.core.state());
        Ok(sync)
    }

    /// Carries out an edge command.
    fn run(&mut self, task: &str, action: &str) -> anyhow::Result<()> {
        let done = match action {
            DISCONNECT => {
                let deleted = Enrolment { deleted: true, ..self.enrolment.clone() };
                self.identity.keep(&self.root, deleted.clone())?;
                self.enrolment = deleted;
                Outcome::default()
            }
            unknown => outcome(UNKNOWN, format!("unknown command: {unknown}")),
        };
        Ok(self.core.finished(task, done)?)
    }

    /// Puts one lane in force.
    async fn lane(&mut self, single: Single) -> anyhow::Result<bool> {
        if !self.core.wants(&single) {
            return Ok(false);
        }
        let done = match single.lane.kind() {
            Lane::NAME => self.named(&single)?,
            kind => Err(outcome(UNKNOWN, format!("unknown lane: {kind}"))),
        };
        self.core.done(single, done)?;
        Ok(false)
    }

    fn named(&mut self, single: &Single) -> anyhow::Result<Result<Value, Outcome>> {
        let Some(name) = single.args["name"].as_str().filter(|name| agent_name_fault(name).is_none()) else {
            return Ok(Err(outcome(INVALID, "/name: the name of an agent is needed")));
        };
        self.rename(name.to_owned())?;
        Ok(Ok(json!({ "name": name })))
    }

    /// Sees to it that the contents of a state are on disk: they are there, came along, or are asked for.
    async fn fetch(&self, state: &InForce, bodies: &BTreeMap<String, String>) -> anyhow::Result<()> {
        for (group, digest) in &state.configurations {
            let there = self.body(digest, bodies).await?;
            anyhow::ensure!(there, "the content of group {group} is not {digest}");
        }
        Ok(())
    }

    /// Sees to it that a content is on disk; false when what the gateway has is not what its digest says.
    async fn body(&self, digest: &str, bodies: &BTreeMap<String, String>) -> anyhow::Result<bool> {
        let contents = self.configurator.contents();
        if contents.get(digest).is_some() {
            return Ok(true);
        }
        if let Some(body) = bodies.get(digest)
            && contents.put(digest, body)?
        {
            return Ok(true);
        }
        let answer: BodyAnswer = ask(&self.client, self.subject(&format!("content.{digest}")), &()).await?;
        Ok(contents.put(digest, &answer.content)?)
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
