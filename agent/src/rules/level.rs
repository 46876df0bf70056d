//! Level commands: each stands for a state, and of each lane the newest version counts.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use muster_core::desired::sets;
use muster_core::lane::Lane;
use muster_core::message::{Command, Outcome};
use muster_core::names::{group_name_fault, is_digest};
use muster_core::record::{Entry, MAX_GROUPS};
use muster_core::stamp::Stamp;
use serde_json::{Value, json};

use super::outcome::{INVALID, NOT_APPLIED, UNKNOWN, outcome};
use super::report::result;
use super::state::{Change, Held, InForce};
use super::{Core, Durability, Ledger, LedgerFault, Single, Step};

/// A state that is to be put in force as a whole, or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The groups and the digests of their configurations.
    pub state: InForce,
    /// The lanes that this sets.
    taken: Lanes,
    /// The lanes that belong to groups which the agent leaves, or to configurations which its groups no longer have.
    dropped: Vec<Lane>,
}

impl Target {
    /// The tasks that ask for it.
    pub fn tasks(&self) -> impl Iterator<Item = &str> + Clone {
        self.taken.iter().filter_map(|(_, entry)| asker(entry))
    }

    /// The version of the list of groups, if it is a new one.
    fn regroups(&self) -> Option<Stamp> {
        self.taken.iter().find(|(lane, _)| lane.kind() == Lane::GROUPS).map(|(_, entry)| entry.version)
    }
}

type Sets = BTreeMap<Lane, Entry>;
type Lanes = Vec<(Lane, Entry)>;

impl<L: Ledger> Core<L> {
    /// Takes each lane that is newer than the one held. An equal one is reported again; an older one is ignored. The
    /// groups and their configurations are one state; every other lane is put in force by itself, after them.
    pub(super) fn take_level(&mut self, command: Command) -> Result<Vec<Step>, LedgerFault> {
        let newer = self.newer(&command.sets)?;
        let name = command.action.name.as_str();
        let Some(sets) = sets(name) else {
            return self.refuse(newer, outcome(UNKNOWN, format!("unknown command: {name}")));
        };
        let may = |lane: &Lane| {
            let kind = lane.kind();
            self.able.lanes.contains(&kind) && (kind == sets || (sets == Lane::GROUPS && lane.group().is_some()))
        };
        let (known, unknown) = newer.into_iter().partition(|(lane, _)| may(lane));
        self.refuse(unknown, outcome(UNKNOWN, format!("{name} does not set this lane here")))?;
        let (whole, singles): (Lanes, Lanes) =
            known.into_iter().partition(|(lane, _)| matches!(lane.kind(), Lane::GROUPS | Lane::CONFIG));
        let mut steps = Vec::new();
        let (mut foreign, mut groups) = (false, self.state.groups.clone());
        if !whole.is_empty() {
            match self.target(&command.action.args, &command.sets, whole) {
                Ok((target, others)) => {
                    foreign = others;
                    if !target.taken.is_empty() {
                        groups.clone_from(&target.state.groups);
                        steps.push(Step::Set(target));
                    }
                }
                Err((newer, why)) => return self.refuse(newer, outcome(INVALID, why)),
            }
        }
        for (lane, entry) in singles {
            if lane.group().is_some_and(|group| !groups.iter().any(|g| g == group)) {
                foreign = true;
                continue;
            }
            let (args, timeout) = (command.action.args.clone(), command.timeout);
            steps.push(Step::Lane(Single { lane, entry, args, timeout }));
        }
        // A set-group that was overtaken may name groups that the agent has left since; the others may not.
        if foreign && steps.is_empty() && sets != Lane::GROUPS {
            steps.push(Step::Sync);
        }
        Ok(steps)
    }

    /// The lanes that are newer than those held. What is asked for again is reported again.
    fn newer(&mut self, sets: &Sets) -> Result<Lanes, LedgerFault> {
        let (mut newer, mut again) = (Vec::new(), Vec::new());
        for (lane, entry) in sets {
            match self.state.lane(lane).map_or(Ordering::Greater, |held| entry.version.cmp(&held.version)) {
                Ordering::Greater => newer.push((lane.clone(), entry.clone())),
                Ordering::Equal => {
                    again.extend(self.state.lane(lane).zip(asker(entry)).map(|(held, task)| lane_result(task, held)))
                }
                Ordering::Less => {}
            }
        }
        self.report_again(again)?;
        Ok(newer)
    }

    /// The state that the newer lanes lead to, and whether some of them belong to groups that the agent is not in.
    fn target(&self, args: &Value, sets: &Sets, newer: Lanes) -> Result<(Target, bool), (Lanes, String)> {
        let regroup = newer.iter().find(|(lane, _)| lane.kind() == Lane::GROUPS).map(|(_, entry)| entry.version);
        let groups = match regroup.map(|_| groups(args)).transpose() {
            Ok(groups) => groups.unwrap_or_else(|| self.state.groups.clone()),
            Err(why) => return Err((newer, why)),
        };
        let faulty = newer
            .iter()
            .find(|(lane, entry)| lane.kind() == Lane::CONFIG && !entry.digest.as_deref().is_some_and(is_digest));
        if let Some((lane, _)) = faulty {
            let why = format!("{lane}: the digest is missing or is not a SHA-256 in hex");
            return Err((newer, why));
        }
        let member = |lane: &Lane| lane.group().is_none_or(|group| groups.iter().any(|g| g == group));
        let (taken, foreign): (Vec<_>, Vec<_>) = newer.into_iter().partition(|(lane, _)| member(lane));
        // Without the entry in `sets` the group has no configuration, unless the one held came later than the list.
        let stays = |held: &Held| {
            regroup
                .is_none_or(|version| member(&held.lane) && (sets.contains_key(&held.lane) || held.version > version))
        };
        let of_groups = self.state.lanes.iter().filter(|held| held.lane.group().is_some());
        let mut dropped: Vec<Lane> = of_groups.filter(|held| !stays(held)).map(|held| held.lane.clone()).collect();
        // What is in force and not held: its lane was forgotten with a restored server, or went with a list of groups
        // that could not be put in force. Of the agent's own groups only a list of groups says what stays.
        let forgotten = self.state.in_force.contents.iter().map(|(lane, _)| lane).filter(|lane| {
            let left = !member(lane) || (regroup.is_some() && !sets.contains_key(lane));
            self.state.lane(lane).is_none() && lane.group().is_some() && left
        });
        dropped.extend(forgotten.cloned());
        let digest = |group: &String| {
            let lane = Lane::config(group);
            let digest = match taken.iter().find(|(of, _)| *of == lane) {
                Some((_, entry)) => entry.digest.clone(),
                None if dropped.contains(&lane) => None,
                None => self.good(&lane, group),
            };
            digest.map(|digest| (group.clone(), digest))
        };
        let configurations = groups.iter().filter_map(digest).collect();
        let state = InForce { groups, configurations, ..InForce::default() };
        Ok((Target { state, taken, dropped }, !foreign.is_empty()))
    }

    /// The digest to go on with for a group whose lane does not change: the last good one if the one held has failed.
    fn good(&self, lane: &Lane, group: &str) -> Option<String> {
        let held = self.state.lane(lane)?;
        let last = || self.state.in_force.digest(group).map(str::to_owned);
        match &held.failure {
            None => held.digest.clone(),
            // It failed together with others, and perhaps because of them.
            Some(failure) if failure.code == NOT_APPLIED => last().or_else(|| held.digest.clone()),
            Some(_) => last(),
        }
    }

    /// Says whether the state is in force, or why not. Nothing happens when a lane became newer since [`Core::take`]:
    /// then this is no longer the state to be in. True when the agent must sync: it has left a group for which it
    /// held something newer than its list of groups, so there is a newer list, with that group in it, on its way.
    ///
    /// # Errors
    /// When the ledger cannot be written; the next start puts the state before this one in force again.
    pub fn set(&mut self, target: Target, done: Result<(), Outcome>) -> Result<bool, LedgerFault> {
        let newer =
            |(lane, entry): &(Lane, Entry)| self.state.lane(lane).is_none_or(|held| held.version < entry.version);
        if !target.taken.iter().all(newer) {
            return Ok(false);
        }
        let mut changes = Vec::new();
        let mut overtaken = false;
        if let Some(version) = target.regroups() {
            changes.push(Change::Groups(target.state.groups.clone()));
            let newer = |lane| self.state.lane(lane).is_some_and(|held| held.version > version);
            overtaken = target.dropped.iter().any(newer);
        }
        changes.extend(target.dropped.iter().map(|lane| Change::Lane(lane.clone(), None)));
        if done.is_ok() {
            changes.extend(self.amended(&target).flat_map(took));
            // Other lanes may have come into force since the state was composed.
            let contents = self.state.in_force.contents.iter().filter(|(lane, _)| !target.dropped.contains(lane));
            changes.push(Change::InForce(InForce { contents: contents.cloned().collect(), ..target.state }));
        }
        let failure = done.err().map(Box::new);
        let taken = target.taken.into_iter();
        changes.extend(taken.flat_map(|(lane, entry)| took(held(lane, entry, failure.clone()))));
        self.write(changes, Durability::Now)?;
        Ok(overtaken)
    }

    /// The lanes that failed with an earlier state, and are in force with this one.
    fn amended(&self, target: &Target) -> impl Iterator<Item = Held> {
        let replaced = |lane: &Lane| target.taken.iter().any(|(of, _)| of == lane) || target.dropped.contains(lane);
        let in_force = |held: &Held| match (held.lane.kind(), held.lane.item()) {
            (Lane::CONFIG, Some(group)) => held.digest.as_deref() == target.state.digest(group),
            (Lane::GROUPS, None) => self.state.groups == target.state.groups,
            _ => false,
        };
        self.state
            .lanes
            .iter()
            .filter(|held| held.failure.as_ref().is_some_and(|failure| failure.code == NOT_APPLIED))
            .filter(move |held| !replaced(&held.lane) && in_force(held))
            .map(|held| Held { failure: None, ..held.clone() })
    }

    /// Takes the lanes as failed.
    fn refuse(&mut self, lanes: Lanes, why: Outcome) -> Result<Vec<Step>, LedgerFault> {
        let failed = |(lane, entry)| took(held(lane, entry, Some(Box::new(why.clone()))));
        let changes = lanes.into_iter().flat_map(failed).collect();
        self.write(changes, Durability::Now)?;
        Ok(Vec::new())
    }
}

/// The task that the entry names; `None` when no task has set it: what an enrolment sets has the order 0-0.
pub(super) fn asker(entry: &Entry) -> Option<&str> {
    (entry.order != Stamp::default() && !entry.task.is_empty()).then_some(entry.task.as_str())
}

pub(super) fn held(lane: Lane, entry: Entry, failure: Option<Box<Outcome>>) -> Held {
    let task = asker(&entry).unwrap_or_default().to_owned();
    Held { lane, version: entry.version, task, digest: entry.digest, failure, evidence: None }
}

/// The lane is held, and its task is told; a lane that no task has set has nobody to tell.
pub(super) fn took(held: Held) -> impl Iterator<Item = Change> {
    let told = (!held.task.is_empty()).then(|| Change::Result(held.task.clone(), Some(lane_result(&held.task, &held))));
    [Change::Lane(held.lane.clone(), Some(held))].into_iter().chain(told)
}

fn lane_result(task: &str, held: &Held) -> muster_core::message::CommandResult {
    let outcome = held.failure.as_deref().cloned().unwrap_or_else(|| {
        let digest = || held.digest.as_ref().map_or(Value::Null, |digest| json!({ "digest": digest }));
        Outcome { data: held.evidence.as_deref().cloned().unwrap_or_else(digest), ..Outcome::default() }
    });
    result(task, Some(held), outcome)
}

/// The list of groups in the arguments of `set-group`.
fn groups(args: &Value) -> Result<Vec<String>, String> {
    let list = args["groups"].as_array().ok_or("/groups: a list is needed")?;
    if list.len() > MAX_GROUPS {
        return Err(format!("/groups: {} groups; at most {MAX_GROUPS} are allowed", list.len()));
    }
    let mut groups: Vec<String> = Vec::with_capacity(list.len());
    for (at, name) in list.iter().enumerate() {
        let name = name.as_str().ok_or_else(|| format!("/groups/{at}: a name is needed"))?;
        if let Some(fault) = group_name_fault(name) {
            return Err(format!("/groups/{at}: {fault}"));
        }
        if groups.iter().any(|group| group == name) {
            return Err(format!("/groups/{at}: '{name}' is there twice"));
        }
        groups.push(name.to_owned());
    }
    Ok(groups)
}
