//! `task.retry`: publishes a task that repeats another one for those who did not make it.

use async_nats::jetstream;
use bytes::Bytes;
use muster_broker::Fault;
use muster_core::problem::Problem;
use muster_core::status::Status;
use muster_core::summary::Summary;
use muster_runtime::reply::{Answer, Error};
use serde_json::{Value, json};

use crate::questions::Context;
use crate::submit;

/// Publishes the old task's target and arguments again, with the mark that says what it repeats. The same request with
/// the same new id is the same task.
pub(crate) async fn retry(
    context: &Context,
    old: &Summary,
    id: Option<String>,
    status: Vec<Status>,
    user: Option<String>,
) -> Answer {
    let mut document = published(context, old).await?;
    let gone = || Error::Refused(409, vec![Problem::new("retry", "/id", "its message is no task")]);
    let task = document.as_object_mut().ok_or_else(gone)?;
    // A retry of a retry repeats the same task for fewer; a deadline of its own counts from now.
    for field in ["id", "deliver_until", "retry"] {
        task.remove(field);
    }
    let mut mark = json!({ "of": old.id });
    if !status.is_empty() {
        mark["status"] = json!(status);
    }
    task.insert("retry".into(), mark);
    task.extend(id.map(|id| ("id".to_owned(), json!(id))));
    task.extend(user.map(|user| ("user".to_owned(), json!(user))));
    submit::submit(context, &format!("task.submit.{}", old.kind), &Bytes::from(document.to_string())).await
}

/// The payload of a task as it was published.
async fn published(context: &Context, summary: &Summary) -> Result<Value, Error> {
    let stream = jetstream::new(context.client.clone()).get_stream_no_info("TASKS").await;
    let stream = stream.map_err(|e| Fault::Unavailable(e.to_string()))?;
    let missing = || {
        let message = format!("the message of task '{}' has left the stream TASKS", summary.id);
        Error::Refused(409, vec![Problem::new("retry", "/id", message).hint("submit the task again")])
    };
    let message = stream.get_raw_message(summary.order.number).await.map_err(|_| missing())?;
    serde_json::from_slice(&message.payload).map_err(|_| missing())
}
