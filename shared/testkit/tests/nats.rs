//! The server that tests rest on: it keeps what it acknowledged, whatever it runs in, and
//! its configuration lets each user do what the design says and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anyhow::Result;
use async_nats::{
    Client, Event, Subscriber,
    jetstream::{self, stream::Config},
};
use muster_testkit::{NatsServer, PATIENCE, eventually};
use tokio::sync::mpsc;

#[tokio::test]
async fn the_server_of_choice_keeps_what_it_acknowledged() -> Result<()> {
    keeps_what_it_acknowledged(NatsServer::start().await?).await
}

#[tokio::test]
async fn a_server_process_keeps_what_it_acknowledged() -> Result<()> {
    keeps_what_it_acknowledged(NatsServer::as_process().await?).await
}

async fn keeps_what_it_acknowledged(mut server: NatsServer) -> Result<()> {
    let url = server.url();
    let client = server.control().await?;
    let js = jetstream::new(client.clone());
    let config = Config { name: "KEPT".into(), subjects: vec!["kept.>".into()], ..Default::default() };
    js.create_stream(config).await?;
    js.publish("kept.1", "killed".into()).await?.await?;

    server.kill().await?;
    assert!(server.control().await.is_err(), "a killed server answers");
    server.restart().await?;
    js.publish("kept.2", "stopped".into()).await?.await?;

    server.stop().await?;
    assert!(server.control().await.is_err(), "a stopped server answers");
    server.restart().await?;
    server.restart().await?;

    assert_eq!(server.url(), url);
    let stream = eventually("the client is back", PATIENCE, || js.get_stream("KEPT")).await;
    for (sequence, payload) in [(1, "killed"), (2, "stopped")] {
        assert_eq!(stream.get_raw_message(sequence).await?.payload, payload);
    }

    drop(server);
    assert!(async_nats::connect(url).await.is_err(), "a dropped server answers");
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Does {
    Publish,
    Subscribe,
}
use Does::{Publish, Subscribe};

#[rustfmt::skip]
const PERMISSIONS: [(&str, Does, &str, bool); 32] = [
    ("fleet",  Publish,   "agent.7.hello",     true),
    ("fleet",  Publish,   "agent.7.rx.g1.4",   true),
    ("fleet",  Publish,   "enrol.UABC",        true),
    ("fleet",  Publish,   "agent.7.command",   false),
    ("fleet",  Publish,   "_INBOX.x.y",        false),
    ("fleet",  Publish,   "tasks.agent-name",  false),
    ("fleet",  Publish,   "$JS.API.INFO",      false),
    ("fleet",  Subscribe, "agent.7.command",   true),
    ("fleet",  Subscribe, "agent.*.command",   true),
    ("fleet",  Subscribe, "_INBOX.x.*",        true),
    ("fleet",  Subscribe, "agent.7.hello",     false),
    ("fleet",  Subscribe, "agent.7.rx.g1.4",   false),
    ("fleet",  Subscribe, "enrol.*",           false),
    ("fleet",  Subscribe, ">",                 false),
    ("push",   Publish,   "agent.7.command",   true),
    ("push",   Publish,   "agent.7.rx.g1.4",   false),
    ("push",   Publish,   "_INBOX.x.y",        false),
    ("push",   Subscribe, "agent.*.rx.g1.*",   true),
    ("push",   Subscribe, "agent.*.result",    false),
    ("push",   Subscribe, "_INBOX.>",          false),
    ("answer", Publish,   "_INBOX.x.y",        true),
    ("answer", Publish,   "agent.7.command",   false),
    ("answer", Publish,   "agent.7.rx.g1.4",   false),
    ("answer", Subscribe, "agent.*.hello",     true),
    ("answer", Subscribe, "agent.*.sync",      true),
    ("answer", Subscribe, "agent.*.result",    true),
    ("answer", Subscribe, "agent.*.config.*",  true),
    ("answer", Subscribe, "agent.*.content.*", true),
    ("answer", Subscribe, "agent.*.package",   true),
    ("answer", Subscribe, "enrol.*",           true),
    ("answer", Subscribe, "agent.*.rx.>",      false),
    ("answer", Subscribe, "_INBOX.>",          false),
];

#[tokio::test]
async fn each_user_may_do_its_part_and_no_more() -> Result<()> {
    let server = NatsServer::start().await?;
    for (user, does, subject, allowed) in PERMISSIONS {
        assert_eq!(is_allowed(&server, user, does, subject).await?, allowed, "{user} {does:?} {subject}");
    }
    Ok(())
}

/// Tries it on a connection of its own. The server handles what a connection sends in
/// order, so a second act that is surely refused tells that the first was judged.
async fn is_allowed(server: &NatsServer, user: &str, does: Does, subject: &str) -> Result<bool> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let client = server
        .options(user)?
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                let _ = tell.send(error.to_string());
            }
            async {}
        })
        .connect(server.url())
        .await?;
    let _open = attempt(&client, does, subject).await?;
    client.publish("forbidden.to.all", "".into()).await?;
    let mut refused = false;
    loop {
        let error = tokio::time::timeout(PATIENCE, told.recv()).await?.unwrap();
        if error.contains("forbidden.to.all") {
            return Ok(!refused);
        }
        assert!(error.to_lowercase().contains("violation"), "{error}");
        refused = true;
    }
}

async fn attempt(client: &Client, does: Does, subject: &str) -> Result<Vec<Subscriber>> {
    match does {
        Publish => {
            client.publish(subject.to_owned(), "".into()).await?;
            Ok(vec![])
        }
        // A queue group needs the same permission.
        Subscribe => Ok(vec![
            client.subscribe(subject.to_owned()).await?,
            client.queue_subscribe(subject.to_owned(), "g".to_owned()).await?,
        ]),
    }
}
