//! The messages of the next flush, and whether a task may end with them.

use std::collections::HashMap;

use muster_broker::Delivery;

use crate::inbox;

/// What was pulled and is not stored yet.
#[derive(Default)]
pub struct Gathered {
    messages: Vec<Delivery>,
    /// How many final reports there are of each task.
    reports: HashMap<String, u64>,
    /// Whether they are as many as a task still waits for: who waits for its end does not wait for company.
    complete: bool,
}

impl Gathered {
    /// The messages, in the order in which they came.
    pub fn messages(&self) -> &[Delivery] {
        &self.messages
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether a task may end with them.
    pub const fn may_end_a_task(&self) -> bool {
        self.complete
    }

    /// Adds messages; `open` says of how many recipients of a task no end is stored, if that is known and there are any.
    pub fn add(&mut self, pulled: Vec<Delivery>, open: impl Fn(&str) -> Option<u64>) {
        for message in pulled {
            if let Some(task) = inbox::ended(&message.subject) {
                match self.reports.get_mut(task) {
                    Some(count) => *count += 1,
                    None => drop(self.reports.insert(task.to_owned(), 1)),
                }
            }
            self.messages.push(message);
        }
        self.complete = self.reports.iter().any(|(task, count)| open(task).is_some_and(|open| *count >= open));
    }

    /// They are stored.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
