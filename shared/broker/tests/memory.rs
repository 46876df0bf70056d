//! The broker in memory passes the conformance suite.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_broker::conformance::{Fixture, consumers, run};
use muster_broker::memory::MemoryBroker;
use muster_broker::{Bus, Clock};
use muster_core::instant::Instant;

/// The runtime's time, which passes at once when everybody waits.
struct Paused(tokio::time::Instant);

#[async_trait]
impl Clock for Paused {
    fn now(&self) -> Instant {
        Instant(1_700_000_000_000).plus(self.0.elapsed())
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

#[tokio::test(start_paused = true)]
async fn memory_conforms() {
    let clock: Arc<dyn Clock> = Arc::new(Paused(tokio::time::Instant::now()));
    let broker = MemoryBroker::new(clock.clone()).unwrap();
    for (stream, consumer) in consumers() {
        broker.add_consumer(stream, &consumer).unwrap();
    }
    let bus: Bus = Arc::new(broker);
    let make = || async { Fixture { bus: bus.clone(), clock: clock.clone() } };
    if let Err(failures) = run(make).await {
        panic!("{failures}");
    }
}
