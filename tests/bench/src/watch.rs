//! When tasks end: one watch on the bucket of their summaries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_nats::Client;
use async_nats::jetstream;
use futures::StreamExt as _;
use muster_core::summary::Summary;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Keeps the summaries of tasks that have ended, and when that was seen.
pub struct Watch {
    seen: Arc<Seen>,
    task: AbortHandle,
}

#[derive(Default)]
struct Seen {
    ended: Mutex<HashMap<String, (Instant, Summary)>>,
    news: Notify,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the bucket is not there.
    pub async fn start(client: &Client) -> Result<Self> {
        let bucket = jetstream::new(client.clone()).get_key_value("tasks").await?;
        let mut changes = bucket.watch_all().await?;
        let seen = Arc::new(Seen::default());
        let sees = seen.clone();
        let task = tokio::spawn(async move {
            while let Some(Ok(change)) = changes.next().await {
                let at = Instant::now();
                match serde_json::from_slice::<Summary>(&change.value) {
                    Ok(summary) if summary.state.is_end() => {
                        let mut ended = sees.ended.lock().unwrap_or_else(PoisonError::into_inner);
                        ended.entry(summary.id.clone()).or_insert((at, summary));
                        sees.news.notify_waiters();
                    }
                    _ => {}
                }
            }
        });
        Ok(Self { seen, task: task.abort_handle() })
    }

    /// When this task's end was seen, and its summary then.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub async fn ended(&self, task: &str, patience: Duration) -> Result<(Instant, Summary)> {
        let ended = async {
            loop {
                let news = self.seen.news.notified();
                if let Some(found) = self.look(task) {
                    return found;
                }
                news.await;
            }
        };
        tokio::time::timeout(patience, ended).await.with_context(|| format!("{task} has not ended in {patience:?}"))
    }

    /// The same, without waiting.
    pub fn look(&self, task: &str) -> Option<(Instant, Summary)> {
        self.seen.ended.lock().unwrap_or_else(PoisonError::into_inner).get(task).cloned()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
