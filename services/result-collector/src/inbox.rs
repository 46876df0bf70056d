//! What the messages of one flush say, task by task.

use std::collections::HashMap;

use muster_broker::Delivery;
use muster_core::fact::{Fact, StoredResult};
use muster_core::names::is_any_task_id;
use serde::de::DeserializeOwned;

use crate::state::Report;

/// The longest message that is read, in bytes: a page has at most 900 numbers, a report 4 KiB of data.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// What is told about one task.
#[derive(Debug, Default)]
pub struct Work {
    /// The reports of recipients.
    pub reports: Vec<Report>,
    /// The facts.
    pub facts: Vec<Fact>,
    /// Whether what follows from the time is to be looked at.
    pub timed: bool,
}

impl Work {
    /// Look at what follows from the time.
    pub fn timed() -> Self {
        Self { timed: true, ..Self::default() }
    }

    /// Whether something is inferred about the unfinished: only what is stored now can say who they are.
    pub fn infers(&self) -> bool {
        let infers = |fact: &Fact| matches!(fact, Fact::Superseded { .. } | Fact::Stopped { .. } | Fact::Expired);
        self.timed || self.facts.iter().any(infers)
    }
}

/// The work that messages mean, by task, and the positions of those that cannot be read, with the reason.
pub fn sort(messages: &[Delivery]) -> (HashMap<&str, Work>, Vec<(usize, String)>) {
    let mut works: HashMap<&str, Work> = HashMap::new();
    let mut dead = Vec::new();
    for (position, message) in messages.iter().enumerate() {
        if let Err(reason) = take(message, &mut works) {
            dead.push((position, reason));
        }
    }
    (works, dead)
}

fn take<'a>(message: &'a Delivery, works: &mut HashMap<&'a str, Work>) -> Result<(), String> {
    let (kind, task) = place(&message.subject).ok_or("the subject is not one of a report or a fact")?;
    if kind == Kind::Fact {
        let fact = read(&message.body)?;
        works.entry(task).or_default().facts.push(fact);
    } else {
        let StoredResult { number, status, .. } = read(&message.body)?;
        works.entry(task).or_default().reports.push(Report { number, status, at: message.at });
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Kind {
    Report,
    Fact,
}

/// The task that a subject of RESULTS names.
pub fn task(subject: &str) -> Option<&str> {
    place(subject).map(|(_, task)| task)
}

/// The task that a final report of RESULTS is about.
pub fn ended(subject: &str) -> Option<&str> {
    if subject.starts_with("results.") { task(subject) } else { None }
}

fn place(subject: &str) -> Option<(Kind, &str)> {
    let (kind, rest) = subject.split_once('.')?;
    let (kind, task) = match kind {
        "results" | "starts" => (Kind::Report, rest.split_once('.')?.0),
        "facts" => (Kind::Fact, rest),
        _ => return None,
    };
    // An id becomes part of keys and filters.
    is_any_task_id(task).then_some((kind, task))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if body.len() > MAX_MESSAGE {
        return Err(format!("it has {} bytes, more than the {MAX_MESSAGE} that are read", body.len()));
    }
    serde_json::from_slice(body).map_err(|e| format!("it cannot be read: {e}"))
}
