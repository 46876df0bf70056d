//! `task.plan.<type>`: the dry run, which the type's function answers.

use async_nats::client::RequestErrorKind;
use bytes::Bytes;
use muster_broker::Fault;
use muster_core::problem::Problem;
use muster_core::task::TaskType;
use muster_runtime::reply::{Answer, Error};

use crate::questions::Context;

/// Asks the function what a task would do.
pub(crate) async fn plan(context: &Context, subject: &str, body: &Bytes) -> Answer {
    let kind = subject.rsplit('.').next().unwrap_or_default();
    let known: TaskType =
        kind.parse().map_err(|why: String| Error::Refused(400, vec![Problem::new("unknown-type", "", why)]))?;
    match context.client.request(format!("function.plan.{known}"), body.clone()).await {
        Ok(answer) => {
            serde_json::from_slice(&answer.payload).map_err(|e| Error::Fault(Fault::Unavailable(e.to_string())))
        }
        Err(e) if e.kind() == RequestErrorKind::NoResponders => {
            let problem = Problem::new("function-not-running", "", format!("the function {known} is not running"));
            Err(Error::Refused(503, vec![problem.hint(format!("start it: muster run {known}"))]))
        }
        Err(e) => Err(Error::Fault(Fault::Unavailable(e.to_string()))),
    }
}
