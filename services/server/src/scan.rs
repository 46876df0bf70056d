//! Scans: the packages of an agent are matched with this node's database. Asked by gateways at `node.vulnerabilities.match` (any
//! node) and `node.vulnerabilities.match.<node>` (this one); the header `Muster-Offset` names the offset at which the database must
//! stand, or beyond.

use std::sync::Arc;

use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::select;
use muster_core::findings::{MATCH, OFFSET};
use muster_core::message::Refused;
use muster_core::problem::Problem;
use muster_vulnerabilities::{Database, Error, Inventory};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, spawn_blocking};

use crate::guard::NODES;

/// So many scans are worked on at once.
const AT_ONCE: usize = 2;
/// So much of what was found is told, in bytes of JSON: it is stored as one value.
const MAX_FOUND: usize = 512 * 1024;

/// Answers from now on.
///
/// # Errors
/// When the subjects cannot be listened on.
pub async fn start(client: &Client, id: &str, database: Arc<Database>) -> anyhow::Result<AbortHandle> {
    let any = client.queue_subscribe(MATCH, NODES.to_owned()).await?;
    let this = client.subscribe(format!("{MATCH}.{id}")).await?;
    Ok(tokio::spawn(answer(client.clone(), any, this, database)).abort_handle())
}

async fn answer(client: Client, any: Subscriber, this: Subscriber, database: Arc<Database>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut questions = select(any, this);
    while let Some(message) = questions.next().await {
        let Some(reply) = message.reply.clone() else { continue };
        // The semaphore is never closed. What waits longer than a gateway does is matched for nobody, and asked again.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let (client, database) = (client.clone(), database.clone());
        tokio::spawn(async move {
            let found = spawn_blocking(move || found(&database, &message)).await;
            drop(permit);
            if let Ok(answer) = found
                && let Err(error) = client.publish(reply, answer).await
            {
                tracing::warn!(%error, "what was found was not sent");
            }
        });
    }
}

/// What is found, or why nothing can be.
fn found(database: &Database, message: &Message) -> Bytes {
    let answer = match scan(database, message) {
        Ok(found) => Ok(found),
        Err(problem) => serde_json::to_vec(&Refused { errors: vec![problem] }),
    };
    // Texts and numbers: it has a JSON form.
    answer.unwrap_or_default().into()
}

fn scan(database: &Database, message: &Message) -> Result<Vec<u8>, Problem> {
    let header = message.headers.as_ref().and_then(|headers| headers.get(OFFSET));
    let wanted = header.and_then(|offset| offset.as_str().parse().ok());
    let wanted = wanted.ok_or_else(|| Problem::new("missing", "", format!("the header {OFFSET} names no offset")))?;
    database.require(wanted).map_err(problem)?;
    let Inventory { os, packages } = Inventory::unpack(&message.payload)?;
    let found = database.match_packages(&os, &packages).map_err(problem)?.within(MAX_FOUND);
    serde_json::to_vec(&found).map_err(|error| Problem::new("internal", "", error.to_string()))
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Malformed(problem) => problem,
        Error::Behind { .. } => {
            Problem::new("not-yet", "", error.to_string()).hint("ask again; see: muster task list --type cve-content")
        }
        error => Problem::new("unavailable", "", error.to_string()).hint("ask again in a few seconds"),
    }
}
