//! NATS passes the conformance suite.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use muster_broker::conformance::{Fixture, run};
use muster_broker::nats::NatsBroker;
use muster_broker::{Bus, SystemClock};
use muster_testkit::NatsServer;

#[tokio::test(flavor = "multi_thread")]
async fn nats_conforms() {
    let server = NatsServer::start().await.unwrap();
    let client = server.control().await.unwrap();
    common::provision(&client).await;
    let bus: Bus = Arc::new(NatsBroker::new(client));
    let make = || async { Fixture { bus: bus.clone(), clock: Arc::new(SystemClock) } };
    if let Err(failures) = run(make).await {
        panic!("{failures}");
    }
}
