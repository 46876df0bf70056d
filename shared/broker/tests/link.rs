//! Pushes to agents and who answers them.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use muster_broker::nats::NatsLink;
use muster_broker::{Fault, Link, Pushed};
use muster_testkit::{NatsServer, PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_answered_or_not() {
    let server = NatsServer::start().await.unwrap();
    let link = NatsLink::new(server.agents("push").await.unwrap()).await.unwrap();
    assert_eq!(link.push("001", "x".into(), PATIENCE).await.unwrap(), Pushed::NoResponder);

    let agent = server.agents("fleet").await.unwrap();
    let mut commands = agent.subscribe("agent.001.command").await.unwrap();
    let mut silent = agent.subscribe("agent.002.command").await.unwrap();
    tokio::spawn(async move {
        while let Some(command) = commands.next().await {
            if let Some(reply) = command.reply {
                // Another agent's answer must not count, were it let through.
                let forged = reply.replace("agent.001.", "agent.009.");
                agent.publish(forged, "forged".into()).await.unwrap();
                agent.publish(reply, command.payload).await.unwrap();
            }
        }
    });
    // Once the subscription stands the agent answers.
    eventually("the agent is there", PATIENCE, async || match link.push("001", "x".into(), PATIENCE).await.unwrap() {
        Pushed::Answered(body) if body == "x" => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(link.push("002", "x".into(), Duration::from_millis(200)).await.unwrap(), Pushed::Silence);
    assert_eq!(silent.next().await.unwrap().payload, "x");
    link.tell("002", "y".into()).await.unwrap();
    assert_eq!(silent.next().await.unwrap().payload, "y");

    let pushes = (0..5000).map(|n| {
        let link = &link;
        async move {
            let id = if n % 10 == 0 { format!("offline-{n}") } else { "001".to_owned() };
            (n, link.push(&id, n.to_string().into(), PATIENCE).await.unwrap())
        }
    });
    for (n, pushed) in join_all(pushes).await {
        match pushed {
            Pushed::NoResponder => assert_eq!(n % 10, 0),
            Pushed::Answered(body) => assert_eq!(body, n.to_string()),
            Pushed::Silence => panic!("{n} was not answered"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_no_token_is_refused() {
    let server = NatsServer::start().await.unwrap();
    let link = NatsLink::new(server.agents("push").await.unwrap()).await.unwrap();
    for id in ["", "a.b", "*", ">", "a b", "a\r\nPUB x 0"] {
        assert!(matches!(link.tell(id, "x".into()).await, Err(Fault::Refused(_))), "{id:?}");
    }
    let big = vec![0; 2 << 20];
    assert!(matches!(link.tell("001", big.into()).await, Err(Fault::Refused(_))));
}
