#![allow(clippy::unwrap_used, clippy::expect_used)]
//! The rules, sentence by sentence.

mod edges;
mod history;
mod levels;
mod reports;

use std::cell::RefCell;
use std::rc::Rc;

use muster_core::instant::Instant;
use muster_core::lane::Lane;
use muster_core::message::{Action, Command, CommandResult, Outcome, Recipient, ReportStatus};
use muster_core::names::digest;
use muster_core::record::Entry;
use muster_core::stamp::Stamp;
use serde_json::{Value, json};

use super::*;

/// A ledger on which a test sees what was written, and how durably. Opened again, it gives the state that a process
/// finds which starts anew.
#[derive(Debug, Clone, Default)]
struct Tape(Rc<RefCell<Vec<Written>>>);

/// One write.
type Written = (Vec<Change>, Durability);

impl Ledger for Tape {
    fn write(&mut self, changes: &[Change], durability: Durability) -> Result<(), LedgerFault> {
        self.0.borrow_mut().push((changes.to_vec(), durability));
        Ok(())
    }
}

impl Tape {
    /// An agent that starts with what is on the tape; `actions` are the edge commands it knows.
    fn start(&self, actions: &'static [&'static str]) -> Core<Self> {
        let mut state = State::new("l1".into());
        let written: Vec<Change> = self.0.borrow().iter().flat_map(|(changes, _)| changes.clone()).collect();
        written.into_iter().for_each(|change| state.apply(change));
        let lanes = &[
            Lane::GROUPS,
            Lane::CONFIG,
            Lane::NAME,
            Lane::SCA,
            Lane::ACTIVE_RESPONSE,
            Lane::VERSION,
            Lane::SCA_CONTENT,
            Lane::RESCAN,
        ];
        Core::start(state, self.clone(), Abilities { lanes, actions }).unwrap()
    }

    /// The last write.
    fn last(&self) -> Written {
        self.0.borrow().last().cloned().unwrap()
    }
}

fn agent() -> Core<Tape> {
    Tape::default().start(&[])
}

fn command(name: &str, task: &str, args: Value, order: u64) -> Command {
    Command {
        request_id: task.into(),
        order_id: format!("{task}:001"),
        source: None,
        user: None,
        target: Recipient { kind: "agent".into(), id: "001".into() },
        action: Action { name: name.into(), args, version: "1".into() },
        order: Stamp::new(0, order),
        timeout: 600,
        deliver_until: Instant(0),
        sets: BTreeMap::new(),
    }
}

/// An entry of version `version` that `task` wrote; `content` is what its digest is of.
fn entry(version: u64, task: &str, content: Option<&str>) -> Entry {
    Entry {
        version: Stamp::new(0, version),
        order: Stamp::new(0, version),
        task: task.into(),
        digest: content.map(|content| digest(content.as_bytes())),
        revision: None,
    }
}

fn set_config(group: &str, version: u64, task: &str, content: &str) -> Command {
    let sets = [(Lane::config(group), entry(version, task, Some(content)))].into();
    Command { sets, ..command("set-config", task, json!({ "group": group }), version) }
}

fn set_group(version: u64, task: &str, groups: &[&str], contents: &[(&str, Entry)]) -> Command {
    let mut sets = BTreeMap::from([(Lane::of(Lane::GROUPS), entry(version, task, None))]);
    sets.extend(contents.iter().map(|(group, entry)| (Lane::config(group), entry.clone())));
    Command { sets, ..command("set-group", task, json!({ "groups": groups }), version) }
}

/// Carries out a command as an agent does on which `bad` contents fail; true when something was to be done.
fn carry_out(core: &mut Core<Tape>, command: Command, bad: &[&str]) -> bool {
    let steps = core.take(command).unwrap();
    let bad: Vec<String> = bad.iter().map(|content| digest(content.as_bytes())).collect();
    let done = |fails| if fails { Err(outcome::outcome(outcome::NOT_APPLIED, "bad")) } else { Ok(()) };
    let any = steps.iter().any(|step| *step != Step::Sync);
    for step in steps {
        match step {
            Step::Set(target) => {
                let fails = target.state.configurations.iter().any(|(_, digest)| bad.contains(digest));
                core.set(target, done(fails)).unwrap();
            }
            Step::Lane(single) => {
                let fails = single.entry.digest.as_ref().is_some_and(|digest| bad.contains(digest));
                core.done(single, done(fails).map(|()| Value::Null)).unwrap();
            }
            Step::Run { .. } | Step::Sync => {}
        }
    }
    any
}

/// What is newly reported: task and whether it succeeded.
fn reported(core: &mut Core<Tape>) -> Vec<(String, bool)> {
    let results = core.report(Which::New).map(|report| report.results).unwrap_or_default();
    let said = |result: CommandResult| (result.request_id, result.status == ReportStatus::Success);
    let mut said: Vec<_> = results.into_iter().map(said).collect();
    said.sort();
    said
}

fn said(results: &[(&str, bool)]) -> Vec<(String, bool)> {
    results.iter().map(|(task, good)| ((*task).to_owned(), *good)).collect()
}

/// What is in force: each group with the content it has.
fn in_force(core: &Core<Tape>) -> Vec<(&str, Option<&str>)> {
    let state = &core.state().in_force;
    state.groups.iter().map(|group| (group.as_str(), state.digest(group))).collect()
}
