//! Following a task to its end at `tasks/<task>`.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_nats::Client;
use async_nats::jetstream::{self, kv::Operation};
use futures::StreamExt;
use muster_core::summary::Summary;

use crate::ask::Refusal;
use crate::output::say;
use crate::wait::Waiting;

/// How long a task may stay unseen before something is said about it.
const UNSEEN: Duration = Duration::from_secs(5);
/// The pause before a watch that broke off is begun anew.
const AGAIN: Duration = Duration::from_millis(500);

/// Calls `each` with every summary of the task until it has ended, and gives the last; none when the time to wait is
/// over before. `submitted`: the task is known to be published, so it will be there; any other must be there within
/// seconds.
///
/// # Errors
/// [`Refusal`] when there is no such task; what `each` says; when the bucket cannot be watched.
pub(crate) async fn follow(
    client: &Client,
    id: &str,
    submitted: bool,
    waiting: Waiting,
    each: impl FnMut(&Summary) -> anyhow::Result<()>,
) -> anyhow::Result<Option<Summary>> {
    let end = to_the_end(client, id, submitted, each);
    match waiting {
        Waiting::Not => Ok(None),
        Waiting::Forever => end.await.map(Some),
        Waiting::AtMost(limit) => tokio::time::timeout(limit, end).await.map_or(Ok(None), |end| end.map(Some)),
    }
}

async fn to_the_end(
    client: &Client,
    id: &str,
    submitted: bool,
    mut each: impl FnMut(&Summary) -> anyhow::Result<()>,
) -> anyhow::Result<Summary> {
    let bucket = jetstream::new(client.clone()).get_key_value("tasks").await;
    let bucket = bucket
        .map_err(|e| anyhow!("the bucket tasks cannot be read: {e}. Is the server provisioned? muster provision"))?;
    let mut seen: Option<Summary> = None;
    loop {
        let mut watch =
            bucket.watch_with_history(id).await.with_context(|| format!("the task '{id}' cannot be watched"))?;
        loop {
            let entry = if seen.is_none() {
                match tokio::time::timeout(UNSEEN, watch.next()).await {
                    Ok(entry) => entry,
                    Err(_) if submitted => {
                        say("the task is stored and not admitted yet: is the task-manager running? muster up");
                        continue;
                    }
                    Err(_) => return Err(Refusal::unknown_task(id).into()),
                }
            } else {
                watch.next().await
            };
            let Some(Ok(entry)) = entry else { break };
            if entry.operation != Operation::Put {
                bail!("the task '{id}' was removed");
            }
            let summary: Summary =
                serde_json::from_slice(&entry.value).with_context(|| format!("tasks/{id} is no summary"))?;
            if seen.as_ref() == Some(&summary) {
                continue;
            }
            each(&summary)?;
            if summary.state.is_end() {
                return Ok(summary);
            }
            seen = Some(summary);
        }
        // It begins with the newest summary, so nothing is missed.
        tokio::time::sleep(AGAIN).await;
    }
}
