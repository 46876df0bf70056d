//! Does what a hand-over says, one command after the other.

use std::collections::BTreeMap;

use async_nats::Client;
use muster_core::message::{BodyAnswer, HandOver};
use muster_core::names::agent_name_fault;

use super::ACTIONS;
use crate::configurator::Configurator;
use crate::disk::{DiskLedger, Enrolment, Identity, Root};
use crate::link::ask;
use crate::rules::outcome::{UNKNOWN, outcome};
use crate::rules::{Core, InForce, Step};

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
        let mut changed = false;
        for command in hand_over.commands {
            let (task, action) = (command.request_id.clone(), command.action.name.clone());
            match self.core.take(command)? {
                Step::Nothing => {}
                Step::Sync => sync = true,
                Step::Run { .. } => {
                    debug_assert!(ACTIONS.contains(&action.as_str()), "only what is in the table is started");
                    self.core.finished(&task, outcome(UNKNOWN, format!("unknown command: {action}")))?;
                }
                Step::Set(target) => {
                    if let Err(why) = self.fetch(&target.state, &hand_over.bodies).await {
                        tracing::warn!(task, action, %why, "a content is not to be had now; it is asked for again");
                        sync = true;
                        continue;
                    }
                    let before = self.core.state().in_force.clone();
                    let done = self.configurator.put(&target.state, &before).await;
                    match &done {
                        Ok(()) => tracing::info!(task, action, groups = ?target.state.groups, "in force"),
                        Err(why) => tracing::warn!(task, action, why = why.message, "the last good one stays in force"),
                    }
                    sync |= self.core.set(target, done)?;
                    changed = true;
                }
            }
        }
        if changed {
            self.configurator.tidy(self.core.state());
        }
        Ok(sync)
    }

    /// Sees to it that the contents of a state are on disk: they are there, came along, or are asked for.
    async fn fetch(&self, state: &InForce, bodies: &BTreeMap<String, String>) -> anyhow::Result<()> {
        let contents = self.configurator.contents();
        for (group, digest) in &state.configurations {
            if contents.get(digest).is_some() {
                continue;
            }
            if let Some(body) = bodies.get(digest)
                && contents.put(digest, body)?
            {
                continue;
            }
            let answer: BodyAnswer = ask(&self.client, self.subject(&format!("content.{digest}")), &()).await?;
            anyhow::ensure!(contents.put(digest, &answer.content)?, "the content of group {group} is not {digest}");
        }
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
