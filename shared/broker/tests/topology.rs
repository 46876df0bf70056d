//! The files of `nats/` on a server: made, found, compared, changed.
#![allow(clippy::unwrap_used)]

mod common;

use common::api;
use futures::future::try_join_all;
use muster_broker::topology::{Difference, provision, verify};
use muster_broker::{Broker, nats::NatsBroker};
use muster_core::record::Group;
use muster_testkit::NatsServer;
use serde_json::{Value, json};

async fn fields(client: &async_nats::Client) -> Vec<(String, bool)> {
    let name = |difference: Difference| match difference {
        Difference::Field { asset, field, safe, .. } => (format!("{asset} {field}"), safe),
        Difference::Missing { asset } => (format!("{asset} missing"), true),
    };
    verify(client).await.unwrap().into_iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioned_by_several_at_once_and_again() {
    let server = NatsServer::start().await.unwrap();
    let client = server.control().await.unwrap();
    assert!(verify(&client).await.unwrap().iter().all(|d| matches!(d, Difference::Missing { .. })));
    let reports = try_join_all((0..4).map(|_| provision(&client, 1, false))).await.unwrap();
    assert!(reports.iter().all(|report| report.is_in_place()), "{reports:?}");
    let again = provision(&client, 1, true).await.unwrap();
    assert_eq!(again.to_string(), "all is in place\n");
    assert_eq!(verify(&client).await.unwrap(), []);

    let broker = NatsBroker::new(client);
    let value =
        async |key: &str| broker.get("KV_agents", &format!("$KV.agents.{key}")).await.unwrap().unwrap().body.unwrap();
    assert_eq!(serde_json::from_slice::<Group>(&value("gmeta.default").await).unwrap(), Group::alive(None));
    assert_eq!(value("epoch").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drift_is_shown_and_mended_only_where_nothing_is_lost() {
    let server = NatsServer::start().await.unwrap();
    let client = server.control().await.unwrap();
    provision(&client, 1, false).await.unwrap();
    let change = async |stream: &str, fields: Value| {
        let info = api(&client, &format!("STREAM.INFO.{stream}"), json!({})).await;
        let mut config = info["config"].as_object().unwrap().clone();
        config.extend(fields.as_object().unwrap().clone());
        let answer = api(&client, &format!("STREAM.UPDATE.{stream}"), Value::Object(config)).await;
        assert!(answer["error"].is_null(), "{answer}");
    };
    // Lower than the file: raised. Longer than the file: shortening it would remove tasks.
    change("RESULTS", json!({"max_age": 1_000_000_000_000_u64, "allow_atomic": false})).await;
    change("TASKS", json!({"max_age": 86_400_000_000_000_000_u64})).await;
    let consumer = api(&client, "CONSUMER.INFO.TASKS.task-manager", json!({})).await;
    let mut config = consumer["config"].as_object().unwrap().clone();
    config.insert("max_ack_pending".into(), 7.into());
    let update = json!({"stream_name": "TASKS", "action": "update", "config": config});
    assert!(api(&client, "CONSUMER.CREATE.TASKS.task-manager", update).await["error"].is_null());

    let drift = [
        ("stream TASKS max_age".to_owned(), false),
        ("stream RESULTS allow_atomic".to_owned(), true),
        ("stream RESULTS max_age".to_owned(), true),
        ("consumer TASKS/task-manager max_ack_pending".to_owned(), true),
    ];
    assert_eq!(fields(&client).await, drift);
    let looked = provision(&client, 1, false).await.unwrap();
    assert_eq!((looked.updated.len(), looked.differences.len()), (0, 4));
    assert_eq!(fields(&client).await, drift, "without `apply` nothing changes");
    let applied = provision(&client, 1, true).await.unwrap();
    assert_eq!(applied.updated, ["stream RESULTS", "consumer TASKS/task-manager"]);
    assert_eq!(fields(&client).await, drift[..1]);
    assert!(applied.to_string().contains("stream TASKS: max_age is 86400000000000000, the file says 7776000000000000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_refuses_a_field_it_does_not_know() {
    let server = NatsServer::start().await.unwrap();
    let client = server.control().await.unwrap();
    let mut file: Value = serde_json::from_str(include_str!("../../../nats/streams/RUNS.json")).unwrap();
    file["allow_atomc"] = true.into();
    let answer = api(&client, "STREAM.CREATE.RUNS", file).await;
    assert!(answer["error"]["description"].as_str().unwrap().contains("allow_atomc"), "{answer}");
}
