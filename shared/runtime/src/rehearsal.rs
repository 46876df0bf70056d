//! `function.plan.<type>`: a function answers what a task would do, and writes nothing.

use std::sync::Arc;

use anyhow::anyhow;
use async_nats::service::Service;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use muster_core::stamp::Stamp;
use muster_core::task::{Envelope, place_id};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::reply::{Answer, Error, send};
use crate::steps::{Context, Job, Progress, rehearse};
use crate::{Definition, Shell, worker};

/// Registers the endpoint and answers it in the background.
pub(crate) async fn serve(
    shell: &Shell,
    service: &Service,
    definition: Arc<Definition>,
) -> anyhow::Result<JoinHandle<()>> {
    let kind = definition.kind.name();
    let endpoint =
        service.group("function").endpoint_builder().name(format!("plan-{kind}")).add(format!("plan.{kind}")).await;
    let mut endpoint = endpoint.map_err(|e| anyhow!("endpoint function.plan.{kind}: {e}"))?;
    let (context, epoch) = (shell.context.clone(), shell.epoch);
    Ok(tokio::spawn(async move {
        while let Some(request) = endpoint.next().await {
            let (context, definition) = (context.clone(), definition.clone());
            tokio::spawn(async move {
                let answer = answer(&context, &definition, epoch, &request.message.payload).await;
                send(&request, answer).await;
            });
        }
    }))
}

async fn answer(context: &Context, definition: &Definition, epoch: u32, body: &Bytes) -> Answer {
    // As if it came after every task that there is.
    let order = Stamp::new(epoch, u64::MAX);
    let (envelope, document) = match Envelope::parse(body) {
        Ok(parsed) => parsed,
        Err(errors) => return Ok(json!({ "refused": errors })),
    };
    let id = envelope.id.clone().unwrap_or_else(|| place_id(order));
    let task = match envelope.task(definition.kind, id, order, context.clock.now()) {
        Ok(task) => task,
        Err(errors) => return Ok(json!({ "refused": errors })),
    };
    let bound = worker::bind(definition, &task, &document);
    let bound = bound.as_deref().map_err(Clone::clone);
    let job = Job { context, task: &task, bound, delivery: 1, progress: &Nobody };
    let rehearsal = rehearse(&job).await?;
    serde_json::to_value(rehearsal).map_err(|e| Error::Fault(muster_broker::Fault::Refused(e.to_string())))
}

/// Nothing is decided in a dry run.
struct Nobody;

#[async_trait]
impl Progress for Nobody {
    async fn decided(&self) {}
}
