//! What must hold at every moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use muster_broker::{Entry, Write, kv};
use muster_core::message::HandOver;
use muster_core::status::State;
use muster_core::summary::Summary;

use crate::net::Net;

/// Watches what is stored and handed over.
#[derive(Default)]
pub struct Monitor(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    /// Decisions as they were made.
    decisions: BTreeMap<String, Bytes>,
    /// Tasks whose last page is decided.
    decided: BTreeSet<String>,
    /// Tasks whose stop is stored.
    stopped: BTreeSet<String>,
    /// Tasks whose stop was confirmed.
    confirmed: BTreeSet<String>,
    /// Whether a process found a stop when it last looked for one.
    looked: BTreeMap<(String, String), bool>,
    /// How tasks ended.
    ended: BTreeMap<String, State>,
}

impl Monitor {
    fn watched<T>(&self, look: impl FnOnce(&mut Watched) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The stop of a task was confirmed to who asked for it.
    pub fn confirmed(&self, task: &str) {
        self.watched(|watched| watched.confirmed.insert(task.to_owned()));
    }

    /// The server was restored from a backup: what was watched since is another history.
    pub fn restored(&self) {
        self.watched(|watched| *watched = Watched::default());
    }

    /// A process has read a subject.
    pub fn read(&self, process: &str, subject: &str, found: Option<&Entry>) {
        let stop = kv::key("agents", subject).and_then(|key| key.strip_prefix("stop."));
        if let Some(task) = stop {
            let there = found.is_some_and(|entry| entry.body.is_some());
            self.watched(|watched| watched.looked.insert((process.to_owned(), task.to_owned()), there));
        }
    }

    /// A process has stored something.
    pub fn stored(&self, net: &Net, process: &str, stream: &str, writes: &[Write]) {
        let wrong = match stream {
            "KV_agents" => self.watched(|watched| watched.decisions(writes)),
            "KV_tasks" => self.watched(|watched| watched.summaries(writes)),
            _ => return,
        };
        wrong.into_iter().for_each(|what| net.violation(format!("{process}: {what}")));
    }

    /// A gateway hands something over: an edge command whose task was stopped before the gateway last looked must not
    /// begin.
    pub fn handed_over(&self, net: &Net, process: &str, hand_over: &HandOver) {
        for command in hand_over.commands.iter().filter(|command| command.sets.is_empty()) {
            let task = &command.request_id;
            let at = (process.to_owned(), task.clone());
            let begins = self.watched(|watched| {
                watched.stopped.contains(task) && watched.looked.get(&at).is_none_or(|stopped| *stopped)
            });
            if begins {
                net.violation(format!("{process}: hands over an edge command of {task}, which was stopped"));
            }
        }
    }
}

impl Watched {
    fn decisions(&mut self, writes: &[Write]) -> Vec<String> {
        let mut wrong = Vec::new();
        let keyed = || writes.iter().filter_map(|w| Some((kv::key("agents", &w.subject)?, w.body.clone()?)));
        let stops: BTreeSet<&str> = keyed().filter_map(|(key, _)| key.strip_prefix("stop.")).collect();
        for (key, body) in keyed() {
            let Some((kind, rest)) = key.split_once('.') else { continue };
            let task = rest.split('.').next().unwrap_or_default();
            if !matches!(kind, "plan" | "recipients" | "page" | "finish") {
                continue;
            }
            let text = String::from_utf8_lossy(&body);
            match self.decisions.get(key) {
                Some(before) if *before != body => wrong.push(format!("{key} is decided twice")),
                _ => drop(self.decisions.insert(key.to_owned(), body.clone())),
            }
            let allowed = stops.contains(task) || (kind == "finish" && self.decided.contains(task));
            if self.confirmed.contains(task) && !allowed {
                wrong.push(format!("{key} is decided after the stop of {task} was confirmed"));
            }
            if kind == "page" && text.contains("\"last\":true") {
                self.decided.insert(task.to_owned());
            }
        }
        self.stopped.extend(stops.into_iter().map(str::to_owned));
        wrong
    }

    fn summaries(&mut self, writes: &[Write]) -> Vec<String> {
        let mut wrong = Vec::new();
        for write in writes {
            let Some(Ok(summary)) = write.body.as_ref().map(|body| serde_json::from_slice::<Summary>(body)) else {
                wrong.push(format!("{} cannot be read", write.subject));
                continue;
            };
            let Summary { id, state, counts, recipients, ended, .. } = &summary;
            if recipients.is_some_and(|recipients| recipients != counts.total()) {
                wrong.push(format!("{id} has {recipients:?} recipients and counts {counts:?}"));
            }
            if state.is_end() != ended.is_some() {
                wrong.push(format!("{id} is {state:?} and ended {ended:?}"));
            }
            match self.ended.get(id) {
                Some(before) if !state.is_end() => wrong.push(format!("{id} was {before:?} and is {state:?} again")),
                _ if state.is_end() => drop(self.ended.insert(id.clone(), *state)),
                _ => {}
            }
        }
        wrong
    }
}
