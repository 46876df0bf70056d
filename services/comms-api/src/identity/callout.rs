//! The shell of the callout: the server's questions in, answers out, as the user of the account AUTH.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::Client;
use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Identity, subscribed};

/// Where the server asks.
const SUBJECT: &str = "$SYS.REQ.USER.AUTH";
/// One of the gateways answers.
const GROUP: &str = "gateways";
/// So many questions are worked on at once; the others wait in the connection, and the server for them.
const AT_ONCE: u32 = 256;
/// How long open questions may take at a shutdown: the server waits no longer.
const GRACE: Duration = Duration::from_secs(5);

/// Answers until the token is cancelled, then ends what is open. `bound` is called when the server has the
/// subscription.
///
/// # Errors
/// When the subscription cannot be made.
pub async fn answer_all(
    client: Client,
    identity: Arc<Identity>,
    stop: CancellationToken,
    bound: impl FnOnce(),
) -> anyhow::Result<()> {
    let mut questions = client.queue_subscribe(SUBJECT, GROUP.to_owned()).await;
    let questions = questions.as_mut().ok().context("cannot subscribe to the server's questions")?;
    subscribed(&client).await;
    bound();
    let room = Arc::new(Semaphore::new(AT_ONCE as usize));
    let mut stopping = false;
    loop {
        // The semaphore is never closed.
        let permit = room.clone().acquire_owned().await?;
        let question = tokio::select! {
            () = stop.cancelled(), if !stopping => {
                // Others of the queue group get what comes from now on; what has arrived here is still answered.
                stopping = true;
                questions.unsubscribe().await?;
                continue;
            }
            question = questions.next() => question,
        };
        let Some(question) = question else { break };
        let (client, identity) = (client.clone(), identity.clone());
        tokio::spawn(async move {
            match (identity.answer(&question.payload).await, question.reply) {
                (Ok(answer), Some(reply)) => {
                    if let Err(error) = client.publish(reply, answer.into()).await {
                        tracing::warn!(%error, "the server was not told who somebody is");
                    }
                }
                (Err(why), _) => tracing::warn!(why, "a question of the server is not answered"),
                (Ok(_), None) => {}
            }
            drop(permit);
        });
    }
    let _ = tokio::time::timeout(GRACE, room.acquire_many(AT_ONCE)).await;
    client.flush().await.context("the last answers were not sent")
}
