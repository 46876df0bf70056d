//! Crash points for the tests that prove crash-safety by killing real processes; compiled into debug builds only.
//!
//! `MUSTER_CRASH=<what>:<prefix>` ends or stops the process at its first write of a subject that begins with the
//! prefix: `kill-before`, `kill-after` (SIGKILL), `stop-before`, `stop-after` (SIGSTOP; it goes on when it is woken).

use muster_broker::Bus;

/// The bus itself, or in a debug build with `MUSTER_CRASH` one that crashes at the point named.
pub fn guarded(bus: Bus) -> Bus {
    #[cfg(debug_assertions)]
    if let Some(point) = points::Point::from_env() {
        return std::sync::Arc::new(points::Crashing::new(bus, point));
    }
    bus
}

#[cfg(debug_assertions)]
mod points {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use muster_broker::{Broker, Bus, Deliveries, Entry, Fault, Write};
    use rustix::process::{Signal, getpid, kill_process};

    #[derive(Clone)]
    pub(super) struct Point {
        signal: Signal,
        after: bool,
        prefix: String,
    }

    impl Point {
        pub(super) fn from_env() -> Option<Self> {
            let text = std::env::var("MUSTER_CRASH").ok()?;
            let (what, prefix) = text.split_once(':')?;
            let (signal, when) = what.split_once('-')?;
            let signal = if signal == "kill" { Signal::KILL } else { Signal::STOP };
            Some(Self { signal, after: when == "after", prefix: prefix.to_owned() })
        }
    }

    pub(super) struct Crashing {
        bus: Bus,
        point: Point,
        done: AtomicBool,
    }

    impl Crashing {
        pub(super) fn new(bus: Bus, point: Point) -> Self {
            Self { bus, point, done: AtomicBool::new(false) }
        }

        fn reach(&self, writes: &[Write], after: bool) {
            let here = after == self.point.after && writes.iter().any(|w| w.subject.starts_with(&self.point.prefix));
            if here && !self.done.swap(true, Ordering::SeqCst) {
                tracing::warn!(prefix = self.point.prefix, after, "crash point");
                let _ = kill_process(getpid(), self.point.signal);
            }
        }
    }

    #[async_trait]
    impl Broker for Crashing {
        async fn commit(&self, stream: &str, writes: Vec<Write>) -> Result<u64, Fault> {
            self.reach(&writes, false);
            let done = self.bus.commit(stream, writes.clone()).await;
            self.reach(&writes, true);
            done
        }

        async fn publish(&self, stream: &str, writes: Vec<Write>) -> Result<(), Fault> {
            self.reach(&writes, false);
            let done = self.bus.publish(stream, writes.clone()).await;
            self.reach(&writes, true);
            done
        }

        async fn get(&self, stream: &str, subject: &str) -> Result<Option<Entry>, Fault> {
            self.bus.get(stream, subject).await
        }

        async fn get_many(&self, stream: &str, subjects: &[String]) -> Result<Vec<Entry>, Fault> {
            self.bus.get_many(stream, subjects).await
        }

        async fn list(&self, stream: &str, filter: &str) -> Result<Vec<String>, Fault> {
            self.bus.list(stream, filter).await
        }

        async fn scan(&self, stream: &str, filter: &str) -> Result<BoxStream<'static, Result<Entry, Fault>>, Fault> {
            self.bus.scan(stream, filter).await
        }

        async fn purge(&self, stream: &str, subject: &str) -> Result<(), Fault> {
            self.bus.purge(stream, subject).await
        }

        async fn subscribe(&self, stream: &str, consumer: &str, prefetch: usize) -> Result<Box<dyn Deliveries>, Fault> {
            self.bus.subscribe(stream, consumer, prefetch).await
        }

        async fn acked_upto(&self, stream: &str, consumer: &str) -> Result<u64, Fault> {
            self.bus.acked_upto(stream, consumer).await
        }
    }
}
