//! What the tests of this crate share.
#![allow(clippy::unwrap_used, dead_code)]

use async_nats::Client;
use muster_broker::conformance::consumers;
use muster_broker::topology::{self, Report};
use serde_json::{Value, json};

/// Asks the JetStream API; the answer may be an error.
pub async fn api(client: &Client, subject: &str, body: Value) -> Value {
    let answer = client.request(format!("$JS.API.{subject}"), body.to_string().into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

/// The topology of `nats/`, and the consumers of the conformance suite.
pub async fn provision(client: &Client) -> Report {
    let report = topology::provision(client, 1, false).await.unwrap();
    for (stream, config) in consumers() {
        let subject = format!("CONSUMER.CREATE.{stream}.{}", config["durable_name"].as_str().unwrap());
        let answer = api(client, &subject, json!({ "stream_name": stream, "config": config })).await;
        assert!(answer["error"].is_null(), "{answer}");
    }
    report
}
