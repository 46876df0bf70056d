//! A durable pull consumer with explicit acks: what was delivered and not acknowledged, and what comes again when.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use muster_core::instant::Instant;
use tokio::sync::Notify;

use super::filter::covers;
use super::settings::{ConsumerSettings, Pinned};
use super::stream::{Message, Stream};

/// Acks of the last moments are lost when the server restarts: it writes a consumer's state a little later.
const UNSAVED: Duration = Duration::from_millis(500);

/// A clone is one to keep: it shares the readers.
#[derive(Clone)]
pub struct Consumer {
    settings: ConsumerSettings,
    /// The last place that was delivered, or passed over because the filter does not cover it.
    upto: u64,
    pending: BTreeMap<u64, Pending>,
    acked: VecDeque<(Instant, u64, u64)>,
    /// The reader that is served, and until when it stays so if it does not ask again.
    pinned: Option<(u64, Instant)>,
    /// Readers wait for this.
    pub news: Arc<Notify>,
}

/// A message that was delivered and not acknowledged.
#[derive(Clone)]
struct Pending {
    again: Instant,
    delivered: u64,
}

impl Consumer {
    pub fn new(settings: ConsumerSettings) -> Self {
        Self { settings, upto: 0, pending: BTreeMap::new(), acked: VecDeque::new(), pinned: None, news: Arc::default() }
    }

    fn ack_wait(&self) -> Duration {
        self.settings.ack_wait.unwrap_or(Duration::from_secs(30))
    }

    fn wants(&self, message: &Message) -> bool {
        self.settings.filter_subject.as_ref().is_none_or(|filter| covers(filter, &message.subject))
    }

    /// Whether this reader may be served now; a consumer with one pinned reader serves no other.
    pub fn serves(&mut self, reader: u64, now: Instant) -> bool {
        let (Some(Pinned::Client), Some(timeout)) = (self.settings.priority_policy, self.settings.priority_timeout)
        else {
            return true;
        };
        if self.pinned.is_some_and(|(pinned, until)| pinned != reader && until > now) {
            return false;
        }
        self.pinned = Some((reader, now.plus(timeout)));
        true
    }

    /// Whether it serves one reader at a time.
    pub const fn is_pinned(&self) -> bool {
        self.settings.priority_policy.is_some()
    }

    /// When another reader may be served.
    pub fn unpinned(&self, reader: u64) -> Option<Instant> {
        self.pinned.filter(|(pinned, _)| *pinned != reader).map(|(_, until)| until)
    }

    /// The next message to deliver: what comes again before what is new. Its place, and how often it was delivered.
    pub fn next(&mut self, stream: &Stream, now: Instant) -> Option<(u64, u64)> {
        let gone = |place: &u64| stream.message(*place).is_none();
        self.pending.retain(|place, _| !gone(place));
        let again = now.plus(self.ack_wait());
        if let Some((place, pending)) = self.pending.iter_mut().find(|(_, pending)| pending.again <= now) {
            *pending = Pending { again, delivered: pending.delivered + 1 };
            return Some((*place, pending.delivered));
        }
        if self.pending.len() >= self.settings.max_ack_pending {
            return None;
        }
        let next = stream.behind(self.upto).find(|(_, message)| self.wants(message)).map(|(place, _)| place);
        let place = next?;
        self.upto = place;
        self.pending.insert(place, Pending { again, delivered: 1 });
        Some((place, 1))
    }

    /// When a message comes again, if nothing is heard of it.
    pub fn next_again(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.again).min()
    }

    pub fn ack(&mut self, place: u64, now: Instant) {
        if let Some(pending) = self.pending.remove(&place) {
            self.acked.push_back((now, place, pending.delivered));
        }
        while self.acked.front().is_some_and(|(at, ..)| now.since(*at) > UNSAVED) {
            self.acked.pop_front();
        }
    }

    pub fn nak(&mut self, place: u64, delay: Duration, now: Instant) {
        if let Some(pending) = self.pending.get_mut(&place) {
            pending.again = now.plus(delay);
        }
    }

    pub fn progress(&mut self, place: u64, now: Instant) {
        let again = now.plus(self.ack_wait());
        if let Some(pending) = self.pending.get_mut(&place) {
            pending.again = again;
        }
    }

    pub fn restart(&mut self, now: Instant) {
        let lost = std::mem::take(&mut self.acked);
        let lost = lost.into_iter().filter(|(at, ..)| now.since(*at) <= UNSAVED);
        self.pending.extend(lost.map(|(_, place, delivered)| (place, Pending { again: now, delivered })));
        self.pending.values_mut().for_each(|pending| pending.again = now);
        self.pinned = None;
        self.news.notify_waiters();
    }

    /// All before the first message that is not acknowledged.
    pub fn acked_upto(&self) -> u64 {
        self.pending.keys().next().map_or(self.upto, |first| first - 1)
    }

    pub fn open(&self, stream: &Stream) -> usize {
        let waiting = self.pending.keys().filter(|place| stream.message(**place).is_some()).count();
        waiting + stream.behind(self.upto).filter(|(_, message)| self.wants(message)).count()
    }
}
