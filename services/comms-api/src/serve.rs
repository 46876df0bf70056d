//! The agents' account: requests in, answers out, as the user `answer`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::{Client, HeaderMap, Message};
use futures::StreamExt;
use muster_core::package::ERROR_CODE;
use muster_telemetry::trace::{Origin, Traced};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;
use crate::request::{Request, SUBJECTS};
use crate::{PART, refusal, reply};

/// Requests go to one of the gateways.
const GROUP: &str = "gateways";
/// So many requests of one kind are worked on at once; the others wait in the connection.
const AT_ONCE: u32 = 4096;
/// How long open requests may take to end at a shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// Answers requests until the token is cancelled, then ends what is open. `bound` is called when all subscriptions
/// stand on the server.
///
/// # Errors
/// When a subscription cannot be made.
pub async fn serve(
    client: Client,
    gateway: Arc<Gateway>,
    stop: CancellationToken,
    bound: impl FnOnce(),
) -> anyhow::Result<()> {
    let mut kinds = JoinSet::new();
    for subject in SUBJECTS {
        let requests = client.queue_subscribe(subject, GROUP.to_owned()).await;
        let requests = requests.with_context(|| format!("cannot subscribe to {subject}"))?;
        kinds.spawn(answer_all(client.clone(), gateway.clone(), requests, stop.clone()));
    }
    subscribed(&client).await?;
    bound();
    while kinds.join_next().await.is_some() {}
    client.flush().await.context("the last answers were not sent")
}

/// Waits until the server has taken all subscriptions made before. A flush does not wait for the server, and this user
/// has no inbox for a request; but a message to nobody comes back, as "no responders", to a subject it may listen on.
async fn subscribed(client: &Client) -> anyhow::Result<()> {
    let back = format!("enrol.{}", client.new_inbox().replace('.', "-"));
    let mut listening = client.subscribe(back.clone()).await?;
    client.publish_with_reply("_INBOX.nobody", back, "".into()).await?;
    let nobody = tokio::time::timeout(GRACE, listening.next()).await;
    nobody.ok().flatten().context("the server does not confirm the gateway's subscriptions").map(drop)
}

async fn answer_all(
    client: Client,
    gateway: Arc<Gateway>,
    mut requests: async_nats::Subscriber,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(AT_ONCE as usize));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let request = tokio::select! {
            () = stop.cancelled() => break,
            request = requests.next() => request,
        };
        let Some(request) = request else { break };
        let (client, gateway) = (client.clone(), gateway.clone());
        tokio::spawn(async move {
            answer_one(&client, &gateway, request).await;
            drop(permit);
        });
    }
    // Others of the queue group get what comes from now on; what has arrived here is still answered.
    let _ = requests.unsubscribe().await;
    while let Some(request) = requests.next().await {
        answer_one(&client, &gateway, request).await;
    }
    let _ = tokio::time::timeout(GRACE, room.acquire_many(AT_ONCE)).await;
}

async fn answer_one(client: &Client, gateway: &Gateway, message: Message) {
    let subject = message.subject.as_str();
    let Some(reply) = message.reply else {
        return tracing::debug!(subject, "a request without a reply subject is not answered");
    };
    let request = Request::of(subject);
    // What is no request has an asker too: the second part of each subject that is served.
    let asker = request.as_ref().map(Request::asker).or_else(|| subject.split('.').nth(1)).unwrap_or_default();
    if let Some(why) = reply::fault(&reply, asker) {
        return tracing::warn!(subject, reply = reply.as_str(), why, "a request is refused for its reply subject");
    }
    let headers = message.headers.as_ref();
    let origin = Origin::of(|name| headers?.get(name).map(async_nats::HeaderValue::as_str));
    let mut answer = match request {
        Some(request) => Traced::nothing(PART, origin).run(gateway.answer(request, &message.payload)).await,
        None => Err(refusal::whole("bad-subject", "there is no such request")),
    };
    if let Ok(bytes) = &answer
        && bytes.len() > client.max_payload()
    {
        let message = format!("the answer has {} bytes, where {} fit", bytes.len(), client.max_payload());
        answer = Err(refusal::whole("too-large", message));
    }
    let sent = match answer {
        Ok(bytes) => client.publish(reply, bytes).await,
        Err(errors) => {
            // The bytes of a package may look like anything: the header says what is a refusal.
            let mut headers = HeaderMap::new();
            headers.insert(ERROR_CODE, refusal::status(&errors));
            client.publish_with_headers(reply, headers, refusal::encode(&errors)).await
        }
    };
    if let Err(error) = sent {
        tracing::warn!(subject, %error, "an answer was not sent");
    }
}
