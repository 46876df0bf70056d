//! A process: it can be killed or stopped between any two operations, and its view of the world goes through it.
//!
//! A killed process does nothing any more: each of its operations waits for ever, and its main future is dropped.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use muster_broker::Clock;
use muster_core::instant::Instant;
use tokio::sync::Notify;
use tokio::time::{Instant as Moment, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::net::Net;

/// One life of one copy of a service or function.
pub struct Process {
    /// Such as `collector/1`.
    pub name: String,
    /// Its part of chance.
    pub chance: Chance,
    /// Its surroundings.
    pub net: Arc<Net>,
    dead: CancellationToken,
    stopped: Mutex<Option<Moment>>,
    halted: Notify,
    operations: AtomicU64,
    /// It dies at this operation; before it when even, after it when odd.
    dies_at: Option<u64>,
    /// Its clock goes wrong by this, in milliseconds.
    skew: i64,
}

impl Process {
    /// A new life.
    pub fn start(net: &Arc<Net>, name: &str, life: u64) -> Arc<Self> {
        let chance = Chance::of(net.settings.seed, &format!("{name}#{life}"));
        let dies = net.faulty() && chance.hits(net.settings.crashes);
        let dies_at = dies.then(|| chance.below(if chance.hits(5000) { 60 } else { 400 }));
        let skew = i64::try_from(chance.below(2 * net.settings.skew + 1)).unwrap_or(0)
            - i64::try_from(net.settings.skew).unwrap_or(0);
        net.note(name, || format!("starts, life {life}"));
        Arc::new(Self {
            name: name.to_owned(),
            chance,
            net: net.clone(),
            dead: CancellationToken::new(),
            stopped: Mutex::new(None),
            halted: Notify::new(),
            operations: AtomicU64::new(0),
            dies_at,
            skew,
        })
    }

    /// A client, which lives as long as the world, and whose clock goes right.
    pub fn client(net: &Arc<Net>, name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            chance: Chance::of(net.settings.seed, name),
            net: net.clone(),
            dead: CancellationToken::new(),
            stopped: Mutex::new(None),
            halted: Notify::new(),
            operations: AtomicU64::new(0),
            dies_at: None,
            skew: 0,
        })
    }

    /// Whether it was killed.
    pub fn is_dead(&self) -> bool {
        self.dead.is_cancelled()
    }

    /// Waits for its end.
    pub async fn died(&self) {
        self.dead.cancelled().await;
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.net.note(&self.name, || "is killed".into());
        self.dead.cancel();
        self.halted.notify_waiters();
    }

    /// SIGSTOP, and SIGCONT after a while.
    pub fn stop(&self, span: Duration) {
        self.net.note(&self.name, || format!("is stopped for {span:?}"));
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(Moment::now() + span);
        self.halted.notify_waiters();
    }

    /// Waits for its being killed or stopped.
    pub async fn halted(&self) {
        self.halted.notified().await;
    }

    fn stopped_until(&self) -> Option<Moment> {
        let until = *self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > Moment::now())
    }

    /// Passes when it is alive and not stopped.
    pub async fn gate(&self) {
        loop {
            if self.is_dead() {
                pending::<()>().await;
            }
            match self.stopped_until() {
                Some(until) => sleep_until(until).await,
                None => return,
            }
        }
    }

    /// An operation begins: it takes its time, and may never be reached. Gives its number.
    pub async fn begin(&self) -> u64 {
        self.gate().await;
        let number = self.operations.fetch_add(1, Ordering::Relaxed);
        self.may_die(2 * number).await;
        sleep(self.latency()).await;
        self.gate().await;
        number
    }

    /// An operation has had its effect.
    pub async fn end(&self, number: u64) {
        self.may_die(2 * number + 1).await;
        sleep(self.latency()).await;
        self.gate().await;
    }

    async fn may_die(&self, at: u64) {
        if self.dies_at == Some(at) && self.net.faulty() {
            self.kill();
            pending::<()>().await;
        }
    }

    fn latency(&self) -> Duration {
        match self.chance.below(10_000) {
            draw if draw < self.net.settings.slow && self.net.faulty() => self.chance.span(100, 3000),
            9_500.. => self.chance.span(5, 60),
            _ => self.chance.span(0, 2),
        }
    }
}

/// The clock as the process reads it.
pub struct ProcessClock(pub Arc<Process>);

#[async_trait]
impl Clock for ProcessClock {
    fn now(&self) -> Instant {
        Instant(self.0.net.now().0 + self.0.skew)
    }

    async fn sleep(&self, span: Duration) {
        sleep(span).await;
        self.0.gate().await;
    }
}
