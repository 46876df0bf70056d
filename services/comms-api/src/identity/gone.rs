//! Who is gone: the sets `agents/gone.<container>`, watched with one consumer for each gateway.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::{self, kv::Operation};
use futures::StreamExt;
use muster_core::numbers::Numbers;
use muster_runtime::steps::AGENTS;
use tokio_util::sync::CancellationToken;

use super::CutOff;

/// Before the sets are watched anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Cuts off whoever is or becomes gone, until the token is cancelled.
pub async fn watch(client: Client, cut_off: CutOff, stop: CancellationToken) {
    let mut known = HashMap::new();
    while !stop.is_cancelled() {
        let watching = follow(&client, &cut_off, &mut known);
        match stop.run_until_cancelled(watching).await {
            Some(Ok(())) | None => {}
            Some(Err(error)) => tracing::warn!(%error, "who is deleted cannot be watched; trying again"),
        }
        let _ = stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

/// Follows the sets from what they hold now, so that what happened while nobody watched is not missed.
async fn follow(client: &Client, cut_off: &CutOff, known: &mut HashMap<String, Numbers>) -> anyhow::Result<()> {
    let bucket = jetstream::new(client.clone()).get_key_value(AGENTS).await?;
    let mut changes = bucket.watch_with_history("gone.*").await?;
    while let Some(change) = changes.next().await {
        let change = change?;
        if change.operation != Operation::Put {
            continue;
        }
        match Numbers::decode(&change.value) {
            Ok(all) => {
                let before = known.insert(change.key, all.clone()).unwrap_or_default();
                let new = all.minus(&before);
                if !new.is_empty() {
                    cut_off.cut_off(new);
                }
            }
            Err(why) => tracing::error!(key = change.key, why, "a set of deleted agents cannot be read"),
        }
    }
    Ok(())
}
