//! Matching: all ways through the steps at once, byte by byte, so that the time is at most the length of the text times
//! the number of steps.

use super::Sequence;

/// A way through the steps: the next step, and where the group began and ended.
#[derive(Clone, Copy)]
struct Way {
    at: usize,
    from: usize,
    to: usize,
}

/// The ways that are alive before a byte, the preferred ones first; at most one for each step.
struct Ways {
    list: Vec<Way>,
    seen: Vec<bool>,
}

impl Ways {
    fn new(sequence: &Sequence) -> Self {
        Self { list: Vec::new(), seen: vec![false; sequence.steps.len() + 1] }
    }

    /// Adds a way that has come to its step, or comes `again` for it is repeated; and those that leave out repeated steps.
    fn add(&mut self, sequence: &Sequence, mut way: Way, position: usize, mut again: bool) {
        while let Some(seen) = self.seen.get_mut(way.at).filter(|seen| !**seen) {
            *seen = true;
            if way.at == sequence.group.0 && !again {
                way.from = position;
            }
            if way.at == sequence.group.1 && !again {
                way.to = position;
            }
            self.list.push(way);
            match sequence.steps.get(way.at) {
                Some(step) if step.repeated => way.at += 1,
                _ => break,
            }
            again = false;
        }
    }

    fn clear(&mut self) {
        for way in self.list.drain(..) {
            if let Some(seen) = self.seen.get_mut(way.at) {
                *seen = false;
            }
        }
    }
}

pub(super) fn is_match(sequence: &Sequence, text: &[u8]) -> bool {
    find(sequence, text, true).is_some()
}

pub(super) fn capture<'t>(sequence: &Sequence, text: &'t [u8]) -> Option<&'t [u8]> {
    let way = find(sequence, text, false)?;
    text.get(way.from..way.to)
}

/// The way of the leftmost match, which repeats as often as it can; of any match when the `first` found is enough.
fn find(sequence: &Sequence, text: &[u8], first: bool) -> Option<Way> {
    let (mut now, mut next) = (Ways::new(sequence), Ways::new(sequence));
    let mut found = None;
    for position in 0..=text.len() {
        if found.is_none() && (position == 0 || !sequence.from_start) {
            now.add(sequence, Way { at: 0, from: position, to: position }, position, false);
        }
        for way in &now.list {
            let Some(step) = sequence.steps.get(way.at) else {
                if sequence.to_end && position < text.len() {
                    continue;
                }
                found = Some(*way);
                // Those that follow are less preferred.
                break;
            };
            if text.get(position).is_some_and(|byte| step.class.has(*byte)) {
                let at = way.at + usize::from(!step.repeated);
                next.add(sequence, Way { at, ..*way }, position + 1, step.repeated);
            }
        }
        now.clear();
        std::mem::swap(&mut now, &mut next);
        if (found.is_some() && (first || now.list.is_empty())) || (sequence.from_start && now.list.is_empty()) {
            break;
        }
    }
    found
}
