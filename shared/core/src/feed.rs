//! The vulnerability feed as server nodes take it: a snapshot and the changes after it, which the content manager has stored as
//! objects.

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// The object store of what the content manager brings.
pub const STORE: &str = "content";
/// The most objects with changes between two snapshots.
pub const MAX_CHANGES: usize = 1000;

/// A way to an offset, for a database at any other: the arguments of a task, and the body of the nodes' lane `cve-content`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// The offset that the changes follow.
    pub from: u64,
    /// The offset that is reached.
    pub to: u64,
    /// All records at an offset (NDJSON, a record a line): for databases that the changes do not follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Part>,
    /// Answers of CTI's `changes`, each follows the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Part>,
}

/// An object of the store [`STORE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name.
    pub object: String,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes in hex.
    pub sha256: String,
    /// The offset that a database has with it.
    pub offset: u64,
}

/// What a database has to take, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way<'a> {
    /// The snapshot, if changes alone do not lead there.
    pub snapshot: Option<&'a Part>,
    /// The changes, each with the offset that it follows.
    pub changes: Vec<(u64, &'a Part)>,
}

impl Feed {
    /// What is wrong with the offsets, with pointers into the feed.
    ///
    /// # Errors
    /// When they are not in order, or lead elsewhere than `to`.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let wrong = |at: String, why: String| vec![Problem::new("offsets", at, why)];
        let mut last = self.from;
        for (n, part) in self.changes.iter().enumerate() {
            if part.offset <= last {
                return Err(wrong(format!("/changes/{n}/offset"), format!("{} does not follow {last}", part.offset)));
            }
            last = part.offset;
        }
        match (&self.snapshot, self.changes.is_empty()) {
            (None, true) => {
                let why = "neither a snapshot nor changes: nothing leads to the offset";
                Err(vec![Problem::new("missing", "/changes", why)])
            }
            (Some(snapshot), true) if snapshot.offset != self.to => {
                let why = format!(
                    "the snapshot stands at {}, and no changes lead from there to {}",
                    snapshot.offset, self.to
                );
                Err(wrong("/snapshot/offset".into(), why))
            }
            (Some(_), true) => Ok(()),
            (_, false) if last != self.to => {
                Err(wrong("/to".into(), format!("the last changes lead to {last}, not to {}", self.to)))
            }
            (Some(snapshot), false) if !(self.from..=self.to).contains(&snapshot.offset) => {
                let why = format!(
                    "the changes lead from {} to {}, and do not follow a snapshot at {}",
                    self.from, self.to, snapshot.offset
                );
                Err(wrong("/snapshot/offset".into(), why))
            }
            _ => Ok(()),
        }
    }

    /// This feed, prolonged by the next one. One with a snapshot begins anew; what is known already changes nothing.
    ///
    /// # Errors
    /// When the next one does not follow, or there are too many changes by now.
    pub fn then(self, next: &Self) -> Result<Self, Problem> {
        let known = next.snapshot.as_ref().is_none_or(|snapshot| self.snapshot.as_ref() == Some(snapshot))
            && next.changes.iter().all(|part| self.changes.contains(part));
        if known && next.to <= self.to {
            return Ok(self);
        }
        if next.snapshot.is_some() {
            return Ok(next.clone());
        }
        if next.from != self.to {
            let why = format!("the nodes' feed stands at {}, and changes follow from there", self.to);
            return Err(Problem::new("gap", "/from", why).hint("bring the changes between, or a snapshot"));
        }
        if self.changes.len() + next.changes.len() > MAX_CHANGES {
            let why = format!("with these there are more than {MAX_CHANGES} objects with changes after the snapshot");
            return Err(Problem::new("too-many-changes", "/changes", why).hint("bring a new snapshot"));
        }
        let from = if self.changes.is_empty() { next.from } else { self.from };
        let changes = self.changes.into_iter().chain(next.changes.iter().cloned()).collect();
        Ok(Self { from, to: next.to, snapshot: self.snapshot, changes })
    }

    /// The way from an offset; none where only a snapshot leads on, and there is none.
    pub fn way(&self, have: u64) -> Option<Way<'_>> {
        if have == self.to {
            return Some(Way { snapshot: None, changes: Vec::new() });
        }
        let follows = !self.changes.is_empty() && (self.from..self.to).contains(&have);
        if follows { Some(self.after(None, have)) } else { self.anew() }
    }

    /// The way over the snapshot, whatever the database holds.
    pub fn anew(&self) -> Option<Way<'_>> {
        self.snapshot.as_ref().map(|snapshot| self.after(Some(snapshot), snapshot.offset))
    }

    fn after<'a>(&'a self, snapshot: Option<&'a Part>, offset: u64) -> Way<'a> {
        let follows = std::iter::once(self.from).chain(self.changes.iter().map(|part| part.offset));
        let changes = follows.zip(&self.changes).filter(|(_, part)| part.offset > offset).collect();
        Way { snapshot, changes }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn part(offset: u64) -> Part {
        Part { object: format!("cve-{offset}"), size: 1, sha256: "0".repeat(64), offset }
    }

    fn feed(from: u64, snapshot: Option<u64>, changes: &[u64]) -> Feed {
        let to = changes.last().copied().or(snapshot).unwrap_or(from);
        Feed { from, to, snapshot: snapshot.map(part), changes: changes.iter().copied().map(part).collect() }
    }

    /// The offset of the snapshot, and of each change the one it follows and its own.
    type Offsets = (Option<u64>, Vec<(u64, u64)>);

    fn way(feed: &Feed, have: u64) -> Option<Offsets> {
        let way = feed.way(have)?;
        Some((way.snapshot.map(|s| s.offset), way.changes.iter().map(|(from, part)| (*from, part.offset)).collect()))
    }

    #[test]
    fn offsets_are_in_order_and_lead_to_the_end() {
        let at = |feed: Feed| feed.check().err().map(|problems| problems[0].pointer.clone());
        for good in [feed(100, Some(100), &[]), feed(0, None, &[5, 9]), feed(90, Some(95), &[94, 100])] {
            assert_eq!(at(good), None);
        }
        assert_eq!(at(feed(100, None, &[])), Some("/changes".into()));
        assert_eq!(at(feed(10, None, &[11, 11])), Some("/changes/1/offset".into()));
        assert_eq!(at(feed(10, None, &[10])), Some("/changes/0/offset".into()));
        assert_eq!(at(Feed { to: 13, ..feed(10, None, &[12]) }), Some("/to".into()));
        assert_eq!(at(Feed { to: 13, ..feed(10, Some(12), &[]) }), Some("/snapshot/offset".into()));
        assert_eq!(at(feed(10, Some(9), &[12])), Some("/snapshot/offset".into()));
        assert_eq!(at(feed(10, Some(13), &[12])), Some("/snapshot/offset".into()));
    }

    #[test]
    fn from_any_offset_there_is_a_way() {
        let chain = feed(90, Some(100), &[95, 105, 110]);
        let after = vec![(95, 105), (105, 110)];
        assert_eq!(way(&chain, 110), Some((None, vec![])));
        assert_eq!(way(&chain, 95), Some((None, after.clone())));
        assert_eq!(way(&chain, 97), Some((None, after.clone())));
        assert_eq!(way(&chain, 90), Some((None, vec![(90, 95), (95, 105), (105, 110)])));
        assert_eq!(way(&chain, 0), Some((Some(100), after.clone())));
        assert_eq!(way(&chain, 111), Some((Some(100), after)));
        assert_eq!(way(&feed(0, None, &[5]), 6), None);
        assert_eq!(way(&feed(0, Some(7), &[]), 3), Some((Some(7), vec![])));
    }

    #[test]
    fn a_feed_grows_until_a_snapshot_begins_it_anew() {
        let first = feed(100, Some(100), &[]);
        let grown = first.clone().then(&feed(100, None, &[105])).unwrap().then(&feed(105, None, &[110])).unwrap();
        assert_eq!(grown, feed(100, Some(100), &[105, 110]));
        for known in [&first, &feed(100, None, &[105]), &feed(105, None, &[110]), &grown] {
            assert_eq!(grown.clone().then(known).unwrap(), grown, "{known:?}");
        }
        assert_eq!(grown.clone().then(&feed(108, None, &[112])).unwrap_err().code, "gap");
        assert_eq!(grown.clone().then(&feed(112, None, &[113])).unwrap_err().code, "gap");
        assert_eq!(grown.then(&feed(120, Some(120), &[])).unwrap(), feed(120, Some(120), &[]));
        // From a snapshot that stands behind the offset at which its task began.
        let late = Feed { from: 3, ..feed(7, Some(7), &[]) }.then(&feed(7, None, &[9])).unwrap();
        assert_eq!(way(&late, 5), Some((Some(7), vec![(7, 9)])));
        let many: Vec<u64> = (1..=1000).collect();
        assert_eq!(feed(0, None, &many).then(&feed(1000, None, &[1001])).unwrap_err().code, "too-many-changes");
    }
}
