//! The ruleset in force, which can be replaced while events are judged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use muster_core::problem::Refusal;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::ruleset::{Match, Ruleset};

/// The counts of so many rulesets are kept, the one in force among them.
const MAX_HISTORY: usize = 16;

/// What a ruleset says of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The revision of the ruleset that judged it.
    pub revision: u64,
    /// The ruleset's digest.
    pub digest: String,
    /// The rules that the event matches, in the order of the body.
    pub matches: Vec<Match>,
}

/// What a ruleset has done while it was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Its revision.
    pub revision: u64,
    /// Its digest.
    pub digest: String,
    /// How many rules it has.
    pub rules: u64,
    /// How many events it has judged.
    pub judged: u64,
    /// How many of them matched at least one rule.
    pub matched: u64,
}

/// Judges events by the ruleset in force.
///
/// An event is judged by one whole ruleset: the one that was in force when its judging began. A swap waits for no
/// event and no event waits for a swap; a replaced ruleset is dropped when the last event that it judges is done.
#[derive(Debug)]
pub struct Engine {
    state: RwLock<State>,
    judged: AtomicU64,
}

#[derive(Debug)]
struct State {
    ruleset: Arc<Ruleset>,
    tally: Arc<Tally>,
    /// The tallies of earlier rulesets, the oldest first.
    earlier: VecDeque<Arc<Tally>>,
}

#[derive(Debug, Default)]
struct Tally {
    revision: u64,
    digest: String,
    rules: u64,
    judged: AtomicU64,
    matched: AtomicU64,
}

impl Tally {
    fn new(revision: u64, ruleset: &Ruleset) -> Arc<Self> {
        let (digest, rules) = (ruleset.digest().to_owned(), ruleset.rules() as u64);
        Arc::new(Self { revision, digest, rules, ..Self::default() })
    }

    fn counts(&self) -> Counts {
        // In the opposite order of raising them, so that no more are matched than judged.
        let matched = self.matched.load(Ordering::Acquire);
        let judged = self.judged.load(Ordering::Acquire);
        Counts { revision: self.revision, digest: self.digest.clone(), rules: self.rules, judged, matched }
    }
}

impl Default for Engine {
    /// Judges by the empty ruleset, at revision 0.
    fn default() -> Self {
        Self::new(0, Ruleset::default())
    }
}

impl Engine {
    /// Judges by `ruleset`.
    pub fn new(revision: u64, ruleset: Ruleset) -> Self {
        let tally = Tally::new(revision, &ruleset);
        Self {
            state: RwLock::new(State { ruleset: Arc::new(ruleset), tally, earlier: VecDeque::new() }),
            judged: AtomicU64::new(0),
        }
    }

    /// Loads a body and puts it in force as `revision`. While it loads the ruleset before stays in force, and events that
    /// are being judged by it are not disturbed. Two calls at the same time take effect in either order. Returns what is
    /// known of the new ruleset, all of whose counts are 0.
    ///
    /// # Errors
    /// As [`Ruleset::load`]; the ruleset before stays in force.
    pub fn replace(&self, revision: u64, body: &[u8]) -> Result<Counts, Refusal> {
        let ruleset = Ruleset::load(body)?;
        let tally = Tally::new(revision, &ruleset);
        let counts = tally.counts();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut state.tally, tally);
        let old = std::mem::replace(&mut state.ruleset, Arc::new(ruleset));
        state.earlier.push_back(before);
        if state.earlier.len() >= MAX_HISTORY {
            state.earlier.pop_front();
        }
        drop(state);
        // Freeing a large ruleset takes a while; nobody waits for it.
        drop(old);
        Ok(counts)
    }

    /// Judges an event.
    pub fn judge(&self, event: &Event) -> Verdict {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let (ruleset, tally) = (Arc::clone(&state.ruleset), Arc::clone(&state.tally));
        drop(state);
        let matches = ruleset.matches(event);
        self.judged.fetch_add(1, Ordering::Relaxed);
        tally.judged.fetch_add(1, Ordering::Release);
        if !matches.is_empty() {
            tally.matched.fetch_add(1, Ordering::Release);
        }
        Verdict { revision: tally.revision, digest: tally.digest.clone(), matches }
    }

    /// How many events have been judged, by whatever ruleset.
    pub fn judged(&self) -> u64 {
        self.judged.load(Ordering::Relaxed)
    }

    /// The counts of the rulesets, that in force first, then the ones before it, at most 16 in all.
    pub fn counts(&self) -> Vec<Counts> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&state.tally).chain(state.earlier.iter().rev()).map(|tally| tally.counts()).collect()
    }
}
