//! Which tasks were stopped: asked from the leader just before edge commands are handed over.

use std::collections::{BTreeSet, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use muster_broker::{Bus, Fault, kv};
use muster_core::chain::key;
use muster_runtime::steps::AGENTS;

/// So many are asked for at once.
const AT_ONCE: usize = 32;

/// Those of the tasks that were stopped, as of now.
///
/// # Errors
/// [`Fault::Unavailable`].
pub async fn among(bus: &Bus, tasks: BTreeSet<String>) -> Result<HashSet<String>, Fault> {
    let asked = stream::iter(tasks).map(|task| async move {
        let stop = bus.get(&kv::stream(AGENTS), &kv::subject(AGENTS, &key::stop(&task))).await?;
        Ok::<_, Fault>(stop.is_some_and(|entry| entry.body.is_some()).then_some(task))
    });
    asked.buffer_unordered(AT_ONCE).try_filter_map(|stopped| async move { Ok(stopped) }).try_collect().await
}
