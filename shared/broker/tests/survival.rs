//! What happens when the server or a reader is killed.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use muster_broker::nats::NatsBroker;
use muster_broker::{Broker, Deliveries, Fault, Write};
use muster_testkit::{NatsServer, PATIENCE};
use tokio::time::{sleep, timeout};

fn result(n: usize) -> Write {
    Write::new(format!("results.t.{n}"), n.to_string())
}

/// Reads and acks until all of `wanted` have come, whatever happens meanwhile.
async fn collect(reader: &mut Box<dyn Deliveries>, wanted: std::ops::Range<usize>) {
    let mut missing: BTreeSet<String> = wanted.map(|n| n.to_string()).collect();
    while !missing.is_empty() {
        match timeout(PATIENCE, reader.next(100)).await.unwrap() {
            Ok(Some(all)) => {
                for delivery in all {
                    missing.remove(String::from_utf8_lossy(&delivery.body).as_ref());
                    let _ = delivery.settle.ack().await;
                }
            }
            Ok(None) => panic!("the reader has ended"),
            Err(Fault::Unavailable(_)) => sleep(Duration::from_millis(100)).await,
            Err(fault) => panic!("{fault}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_outlive_the_server() {
    let mut server = NatsServer::start().await.unwrap();
    let broker = NatsBroker::new(server.control().await.unwrap());
    common::provision(broker.client()).await;
    let mut reader = broker.subscribe("RESULTS", "result-collector", 100).await.unwrap();
    broker.publish("RESULTS", (0..100).map(result).collect()).await.unwrap();
    collect(&mut reader, 0..100).await;

    for round in 1..4 {
        let numbers = round * 100..round * 100 + 100;
        server.kill().await.unwrap();
        let writing = async {
            // It is not known whether the first attempts were stored; the same again is harmless here.
            let page = || numbers.clone().map(result).collect::<Vec<_>>();
            while let Err(fault) = broker.publish("RESULTS", page()).await {
                assert!(matches!(fault, Fault::Unavailable(_)), "{fault}");
            }
        };
        let restarting = async {
            sleep(Duration::from_millis(500)).await;
            server.restart().await.unwrap();
        };
        tokio::join!(writing, restarting, collect(&mut reader, numbers.clone()));
    }
    let subjects: Vec<String> = (0..400).map(|n| result(n).subject).collect();
    assert_eq!(broker.get_many("RESULTS", &subjects).await.unwrap().len(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_collector_works_and_another_takes_over() {
    let server = NatsServer::start().await.unwrap();
    let first = NatsBroker::new(server.control().await.unwrap());
    let second = NatsBroker::new(server.control().await.unwrap());
    common::provision(first.client()).await;
    let mut working = first.subscribe("RESULTS", "result-collector", 100).await.unwrap();
    let mut standby = second.subscribe("RESULTS", "result-collector", 100).await.unwrap();
    first.publish("RESULTS", vec![result(0)]).await.unwrap();
    collect(&mut working, 0..1).await;

    for n in 1..20 {
        first.publish("RESULTS", vec![result(n)]).await.unwrap();
        let (mine, other) =
            tokio::join!(timeout(PATIENCE, working.next(10)), timeout(Duration::from_millis(100), standby.next(10)));
        assert!(other.is_err(), "the copy that stands by got {n}");
        for delivery in mine.unwrap().unwrap().unwrap() {
            delivery.settle.ack().await.unwrap();
        }
    }
    // As if it had been stopped: it keeps its connection, and neither pulls nor leaves.
    second.publish("RESULTS", vec![result(20)]).await.unwrap();
    collect(&mut standby, 20..21).await;

    // As if it had been killed: the first may work again.
    drop(standby);
    drop(second);
    first.publish("RESULTS", vec![result(21)]).await.unwrap();
    collect(&mut working, 21..22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_side_by_side_are_all_served() {
    let server = NatsServer::start().await.unwrap();
    let client = server.control().await.unwrap();
    common::provision(&client).await;
    let brokers: Vec<NatsBroker> = (0..40).map(|_| NatsBroker::new(client.clone())).collect();
    // Together more batches than a stream has room for: the server refuses some, and they are tried again.
    let batches = brokers.iter().enumerate().flat_map(|(b, broker)| {
        (0..4).map(move |n| {
            let batch = (0..40).map(move |i| result(b * 1000 + n * 100 + i)).collect();
            broker.commit("RESULTS", batch)
        })
    });
    let outcomes = futures::future::join_all(batches).await;
    assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes.iter().find(|o| o.is_err()));
    assert_eq!(brokers[0].list("RESULTS", "results.t.*").await.unwrap().len(), 40 * 4 * 40);
}
