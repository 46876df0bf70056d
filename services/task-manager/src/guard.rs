//! Whether the user of a request may ask for its task: a server node judges by roles and policies.

use async_nats::client::RequestErrorKind;
use futures::StreamExt;
use muster_broker::{Fault, kv};
use muster_core::problem::Problem;
use muster_core::rbac::{BUCKET, Question, Verdict};
use muster_core::target::Target;
use muster_core::task::TaskType;
use muster_runtime::reply::Error;
use serde_json::Value;

use crate::questions::Context;

/// Refuses what the user may not ask for. Where no node answers, that is everything, unless nobody has set up users.
pub(crate) async fn check(context: &Context, kind: TaskType, document: &Value) -> Result<(), Error> {
    let question = Question {
        user: document["user"].as_str().map(str::to_owned),
        kind,
        target: serde_json::from_value::<Option<Target>>(document["target"].clone()).unwrap_or_default(),
    };
    // Texts and lists of texts: it has a JSON form.
    let payload = serde_json::to_vec(&question).unwrap_or_default();
    let unavailable = |why: String| {
        let problem = Problem::new("rbac-unavailable", "", why);
        Error::Refused(503, vec![problem.hint("start a server node: muster run server")])
    };
    match context.client.request("node.rbac.check", payload.into()).await {
        Ok(answer) => match serde_json::from_slice::<Verdict>(&answer.payload) {
            Ok(Verdict { allowed: true, .. }) => Ok(()),
            Ok(Verdict { why, .. }) => {
                Err(Error::Refused(403, vec![Problem::new("forbidden", "/user", why.unwrap_or_default())]))
            }
            Err(error) => Err(unavailable(format!("the verdict cannot be read: {error}"))),
        },
        Err(error) if error.kind() == RequestErrorKind::NoResponders && !is_set_up(context).await? => Ok(()),
        Err(error) => Err(unavailable(format!("no server node says whether this is allowed: {error}"))),
    }
}

/// Whether there is a user.
async fn is_set_up(context: &Context) -> Result<bool, Fault> {
    let mut users = context.steps.bus.scan(&kv::stream(BUCKET), &kv::subject(BUCKET, "user.*")).await?;
    while let Some(user) = users.next().await.transpose()? {
        if user.body.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
