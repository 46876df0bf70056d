//! What a run did and found: a JSON document, and some lines for people.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::Options;

/// So many violations of each rule are shown to people; the document has all.
const SHOWN: usize = 4;

/// A run.
#[derive(Debug)]
pub struct Report {
    options: Options,
    /// Its rounds so far.
    pub rounds: Vec<Round>,
}

/// A round. What it counts is of the whole run up to its end, but for faults.
#[derive(Debug)]
pub struct Round {
    /// Its number, from 1.
    pub n: u32,
    /// What was done to processes, and how often.
    pub faults: BTreeMap<String, u32>,
    /// The tasks by state.
    pub states: BTreeMap<String, u64>,
    /// The tasks by type.
    pub types: BTreeMap<String, u64>,
    /// The recipients of all tasks by status.
    pub statuses: BTreeMap<String, u64>,
    /// How often programs of real agents were run.
    pub edges: u64,
    /// How many agents gave account of what they hold and did.
    pub agents: usize,
    /// How many stored messages were validated against their schemas.
    pub validated: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How long after the last fault the last task ended.
    pub ended_after_s: f64,
    /// How long the check took.
    pub check_s: f64,
    /// What happened when.
    pub timeline: Vec<String>,
    /// What must not be.
    pub violations: Vec<String>,
}

impl Round {
    /// The round in a line.
    pub fn line(&self) -> String {
        let (kills, stops) = self.hits();
        let (tasks, recipients) = (self.states.values().sum::<u64>(), self.statuses.values().sum::<u64>());
        format!(
            "round {}: {kills} kills, {stops} stops; {tasks} tasks, {recipients} recipients, {} programs run, {} messages \
             valid; the last task ended {:.1} s after the last fault; {:.0} s; {} violations",
            self.n,
            self.edges,
            self.validated,
            self.ended_after_s,
            self.seconds,
            self.violations.len()
        )
    }

    /// How many processes were killed and how many were stopped.
    pub fn hits(&self) -> (u32, u32) {
        let of = |word: &str| self.faults.iter().filter(|(kind, _)| kind.starts_with(word)).map(|(_, n)| n).sum();
        (of("kill"), of("stop"))
    }

    fn document(&self) -> Value {
        json!({
            "round": self.n, "faults": self.faults, "tasks": self.states, "types": self.types,
            "recipients": self.statuses, "programs_run": self.edges, "agents": self.agents, "validated": self.validated,
            "seconds": self.seconds, "ended_after_s": self.ended_after_s, "check_s": self.check_s,
            "violations": self.violations, "timeline": self.timeline,
        })
    }
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        Self { options: options.clone(), rounds: Vec::new() }
    }

    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.rounds.iter().all(|round| round.violations.is_empty())
    }

    /// Writes `report.json` and `summary.txt` into the folder.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let rounds: Vec<Value> = self.rounds.iter().map(Round::document).collect();
        let document = json!({
            "seed": self.options.seed, "agents": self.options.agents, "tasks_each_round": self.options.tasks,
            "clean": self.is_clean(), "rounds": rounds,
        });
        fs::write(folder.join("report.json"), serde_json::to_string_pretty(&document)?)?;
        Ok(fs::write(folder.join("summary.txt"), self.summary())?)
    }

    /// The run for people.
    pub fn summary(&self) -> String {
        let (kills, stops) = self.rounds.iter().map(Round::hits).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        let mut text = format!("seed {}, {} agents\n", self.options.seed, self.options.agents);
        for round in &self.rounds {
            text += &format!("{}\n", round.line());
            text += &few(&round.violations);
        }
        let result = if self.is_clean() { "nothing was found" } else { "SOMETHING WAS FOUND" };
        text + &format!("{} rounds, {kills} kills, {stops} stops: {result}\n", self.rounds.len())
    }
}

/// The first violations of each rule, and how many more there are.
fn few(violations: &[String]) -> String {
    let mut text = String::new();
    for of_rule in violations.chunk_by(|a, b| a.split(':').next() == b.split(':').next()) {
        text.extend(
            of_rule.iter().take(SHOWN).map(|line| format!("  {}\n", line.chars().take(600).collect::<String>())),
        );
        if of_rule.len() > SHOWN {
            text += &format!("  ... {} more\n", of_rule.len() - SHOWN);
        }
    }
    text
}
