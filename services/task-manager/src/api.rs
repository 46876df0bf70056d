//! The endpoints, as `nats micro ls|info|stats` shows them.

use std::sync::Arc;

use anyhow::anyhow;
use async_nats::HeaderValue;
use async_nats::service::{Request, Service};
use futures::StreamExt;
use muster_runtime::Shell;
use muster_runtime::reply::send;
use muster_telemetry::trace::{Origin, PARENT, Traced};

use crate::questions::{self, Context};
use crate::{forward, submit};

/// Registers all endpoints and answers them in the background until the service stops.
pub(crate) async fn serve(shell: &Shell, service: &Service) -> anyhow::Result<()> {
    let context = Context {
        steps: shell.context.clone(),
        epoch: shell.epoch,
        submit: submit::Submit::new(shell)?,
        client: shell.client.clone(),
    };
    let context = Arc::new(context);
    for (group, name, subject) in [
        ("task", "submit", "submit.*"),
        ("task", "plan", "plan.*"),
        ("task", "get", "get"),
        ("task", "list", "list"),
        ("task", "targets", "targets"),
        ("task", "cancel", "cancel"),
        ("task", "retry", "retry"),
        ("group", "get", "get"),
        ("group", "list", "list"),
        ("group", "members", "members"),
        ("agent", "get", "get"),
        ("agent", "list", "list"),
        ("agent", "findings", "findings"),
        ("node", "get", "get"),
        ("node", "list", "list"),
    ] {
        let group_name = format!("{group}-{name}");
        let endpoint = service.group(group).endpoint_builder().name(group_name).add(subject).await;
        let mut endpoint = endpoint.map_err(|e| anyhow!("endpoint {group}.{subject}: {e}"))?;
        let context = context.clone();
        tokio::spawn(async move {
            while let Some(request) = endpoint.next().await {
                let context = context.clone();
                tokio::spawn(async move { answer(&context, group, name, request).await });
            }
        });
    }
    Ok(())
}

async fn answer(context: &Context, group: &str, name: &str, request: Request) {
    let message = &request.message;
    let answer = match (group, name) {
        ("task", "submit") => {
            let header = message.headers.as_ref().and_then(|headers| headers.get(PARENT));
            let asked = Traced::nothing(submit::PART, Origin::parent(header.map(HeaderValue::as_str)));
            asked.run(submit::submit(context, &message.subject, &message.payload)).await
        }
        ("task", "plan") => forward::plan(context, &message.subject, &message.payload).await,
        _ => match questions::parse(&message.payload) {
            Ok(asked) => questions::ask(context, group, name, asked).await,
            Err(e) => Err(e),
        },
    };
    send(&request, answer).await;
}
