//! Undoing what is in force, when its time has come.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use muster_core::instant::Instant;

use super::Responses;
use crate::executable::Executable;
use crate::message::Command;
use crate::report::{Fault, Run};
use crate::run::{Limits, Program, run};

/// So many responses are undone at a time.
const AT_A_TIME: usize = 8;

/// What came of an undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// The order that was undone.
    pub order: String,
    /// The response's name.
    pub response: String,
    /// Why the undo failed, if it did.
    pub fault: Option<Fault>,
    /// What the program did; `None` when it could not be started.
    pub run: Option<Run>,
    /// What is left to do.
    pub left: Left,
}

/// What is left to do after an undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing: it is undone.
    Nothing,
    /// It is tried again then.
    Again(Instant),
    /// Nothing more: it has failed too often. A person must look.
    GivenUp,
}

impl Responses {
    /// When the next undo is due; in the past when it is overdue. An order that runs is not counted before its end.
    pub fn next_due(&self) -> Option<Instant> {
        self.book().next_due()
    }

    /// Undoes all that is due, several responses at a time, each one's in the order of time, and returns when that is
    /// done. Each is undone at least once: one that was cut short is due still. It may be called while an earlier call
    /// has not returned; nothing is undone twice for that.
    pub async fn due(&self, now: Instant) -> Vec<Undone> {
        let came = tokio::time::Instant::now();
        let undo = |orders: Vec<String>| async move {
            let mut undone = Vec::new();
            for order in orders {
                undone.extend(self.undo(order, now, came).await);
            }
            undone
        };
        futures::stream::iter(self.orders_due(now)).map(undo).buffer_unordered(AT_A_TIME).concat().await
    }

    /// The orders whose undo is due, by response.
    fn orders_due(&self, now: Instant) -> Vec<Vec<String>> {
        let mut book = self.book();
        let brought_back = book.brought_back(now);
        if let Err(why) = self.write(&mut book, brought_back, None) {
            tracing::error!(%why, "undos that the clock has moved away cannot be brought back");
        }
        let mut by_response: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for order in book.due(now) {
            let response = book.entry(&order).map_or("", |entry| entry.response.as_str());
            by_response.entry(response).or_default().push(order);
        }
        by_response.into_values().collect()
    }

    /// `None` when it is not due any more: an order that came before it has made it last longer.
    async fn undo(&self, order: String, now: Instant, came: tokio::time::Instant) -> Option<Undone> {
        let response = self.book().entry(&order)?.response.clone();
        let _gate = self.gates.enter(&response).await;
        let now = now.plus(came.elapsed());
        if self.book().entry(&order)?.due.is_none_or(|due| due > now) {
            return None;
        }
        let (fault, run) = match self.delete(&order).await {
            Ok(run) => (run.exit.fault(), Some(run)),
            Err(fault) => (Some(fault), None),
        };
        let now = now.plus(run.as_ref().map_or_else(Default::default, |run| run.duration));
        let left = self.undone(&order, fault.as_ref(), now);
        Some(Undone { order, response, fault, run, left })
    }

    async fn delete(&self, order: &str) -> Result<Run, Fault> {
        let undo = self.store.undo(order).map_err(Fault::Store)?;
        let executable = Executable::find(&self.home, &undo.executable)?;
        let program = Program {
            path: executable.path(),
            arguments: &undo.arguments,
            home: &self.home,
            mark: &self.mark(order, Command::Delete),
        };
        let limits = Limits { timeout: undo.timeout(), grace: self.grace };
        let run = run(&program, undo.line, limits, None).await;
        run.map_err(|error| Fault::NotExecutable(format!("'{}' cannot be started: {error}", undo.executable)))
    }

    fn undone(&self, order: &str, fault: Option<&Fault>, now: Instant) -> Left {
        let mut book = self.book();
        let Some((again, change)) = book.undone(order, fault.is_none(), now) else { return Left::Nothing };
        if let Err(why) = self.store.write(std::slice::from_ref(&change), None) {
            // On disk it waits still, and so runs once more after a restart.
            tracing::error!(order, %why, "the end of an undo cannot be written");
        }
        book.apply(change);
        match (fault, again) {
            (None, _) => Left::Nothing,
            (Some(fault), Some(at)) => {
                tracing::warn!(order, %fault, again = %at, "an active response could not be undone");
                Left::Again(at)
            }
            (Some(fault), None) => {
                tracing::error!(order, %fault, "an active response cannot be undone; it is given up");
                Left::GivenUp
            }
        }
    }
}
