//! What a fleet is told.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use muster_core::names::agent_name_fault;

use crate::link::Access;

/// Up to so many agents listen on subjects of their own unless the settings say otherwise.
const FEW: u32 = 2_000;
/// At most so many agents can listen on subjects of their own: each costs the client 5 KB and the server 1 KB.
const MOST: u32 = 20_000;

/// How the agents listen for commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listening {
    /// [`Listening::Each`] for up to 2,000 agents, and for up to 20,000 of which some are offline; else
    /// [`Listening::Together`].
    #[default]
    Auto,
    /// Each agent on its own subject: one that is offline is seen to be. At most 20,000.
    Each,
    /// All on `agent.*.command`: it costs nothing, but nobody is seen to be offline, not even agents of other
    /// programs; those that are offline are silent.
    Together,
}

/// What a fleet is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How it reaches the server.
    pub access: Access,
    /// How many agents, at least one.
    pub count: u32,
    /// Over how many connections.
    pub connections: usize,
    /// Their names are this, `-`, and a number of five digits.
    pub prefix: String,
    /// Says, with the prefix, which keys the agents have, and who fails, doubles and is offline.
    pub seed: u64,
    /// The version that they report.
    pub version: String,
    /// The system that they report.
    pub os: String,
    /// Labels that they report.
    pub labels: BTreeMap<String, String>,
    /// How long an agent takes for a hand-over.
    pub latency: Duration,
    /// At most how much longer it takes.
    pub jitter: Duration,
    /// The share of states that an agent fails to put in force, from 0 to 1.
    pub failures: f64,
    /// The share of agents that are offline from the start, from 0 to 1.
    pub offline: f64,
    /// The share of answers that are given twice, from 0 to 1.
    pub duplicates: f64,
    /// How the agents listen.
    pub listening: Listening,
    /// Whether it is written down what each agent did, for [`super::Fleet::accounts`]: some 100 bytes for each task of
    /// each agent.
    pub diary: bool,
}

impl Settings {
    /// A fleet of `count` agents that are quick, right and always there.
    pub fn new(access: Access, count: u32) -> Self {
        Self {
            access,
            count,
            connections: 4,
            prefix: "virtual".into(),
            seed: 0,
            version: env!("CARGO_PKG_VERSION").into(),
            os: std::env::consts::OS.into(),
            labels: BTreeMap::new(),
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            failures: 0.0,
            offline: 0.0,
            duplicates: 0.0,
            listening: Listening::Auto,
            diary: false,
        }
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.count > 0, "a fleet has at least one agent");
        ensure!((1..=64).contains(&self.connections), "a fleet has 1 to 64 connections, not {}", self.connections);
        if let Some(fault) = agent_name_fault(&self.name(self.count)) {
            anyhow::bail!("the prefix '{}' makes no names: {fault}", self.prefix);
        }
        for (name, share) in [("failures", self.failures), ("offline", self.offline), ("duplicates", self.duplicates)] {
            ensure!((0.0..=1.0).contains(&share), "{name} is a share from 0 to 1, not {share}");
        }
        let each = self.listening != Listening::Each || self.count <= MOST;
        ensure!(each, "at most {MOST} agents can listen on subjects of their own");
        Ok(())
    }

    /// Whether each agent listens on its own subject.
    pub(super) fn listens_each(&self) -> bool {
        match self.listening {
            Listening::Each => true,
            Listening::Together => false,
            Listening::Auto => self.count <= FEW || (self.offline > 0.0 && self.count <= MOST),
        }
    }

    /// The name of the agent with this number in the fleet.
    pub(super) fn name(&self, n: u32) -> String {
        format!("{}-{n:05}", self.prefix)
    }
}
