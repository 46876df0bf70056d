//! When agents of a fleet act by themselves: one queue of times for all of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Results that are not confirmed are reported again.
    Report,
    /// The agent syncs.
    Sync,
}

/// An alarm: when, which agent, what.
pub(super) type Alarm = (Instant, u32, What);

/// Where alarms are set.
#[derive(Debug, Clone)]
pub(super) struct Alarms(UnboundedSender<Alarm>);

/// Where they go off.
#[derive(Debug)]
pub(super) struct Clock {
    set: UnboundedReceiver<Alarm>,
    waiting: BinaryHeap<Reverse<Alarm>>,
}

pub(super) fn alarms() -> (Alarms, Clock) {
    let (alarms, set) = unbounded_channel();
    (Alarms(alarms), Clock { set, waiting: BinaryHeap::new() })
}

impl Alarms {
    pub fn set(&self, at: Instant, agent: u32, what: What) {
        // Without a clock the fleet has ended.
        let _ = self.0.send((at, agent, what));
    }
}

impl Clock {
    /// The next alarm that goes off; `None` when nobody can set one any more.
    pub async fn next(&mut self) -> Option<Alarm> {
        loop {
            let first = self.waiting.peek().map(|Reverse(alarm)| alarm.0);
            let due = async {
                match first {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                set = self.set.recv() => self.waiting.push(Reverse(set?)),
                () = due => return self.waiting.pop().map(|Reverse(alarm)| alarm),
            }
        }
    }
}
