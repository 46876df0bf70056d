//! The endpoints, as `nats micro ls|info|stats` shows them.

use std::sync::Arc;

use anyhow::anyhow;
use async_nats::HeaderMap;
use async_nats::service::{Request, Service};
use bytes::Bytes;
use futures::StreamExt;
use muster_broker::Fault;
use muster_core::message::Refused;
use muster_core::problem::Problem;
use muster_runtime::Shell;
use serde_json::Value;
use tracing::warn;

use crate::questions::{self, Context};
use crate::submit;

/// What an endpoint answers: a document, or why not.
pub(crate) type Answer = Result<Value, Error>;

/// Why a request is not answered.
#[derive(Debug)]
pub(crate) enum Error {
    /// The request is wrong, or what it asks for is not there; the number is that of HTTP.
    Refused(u16, Vec<Problem>),
    /// The broker did not do its part.
    Fault(Fault),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Error {
    pub(crate) fn missing(what: &str, name: &str, hint: &str) -> Self {
        let problem = Problem::new(&format!("unknown-{what}"), "", format!("there is no {what} '{name}'"));
        Self::Refused(404, vec![problem.hint(hint)])
    }
}

/// Registers all endpoints and answers them in the background until the service stops.
pub(crate) async fn serve(shell: &Shell, service: &Service) -> anyhow::Result<()> {
    let context =
        Arc::new(Context { steps: shell.context.clone(), epoch: shell.epoch, submit: submit::Submit::new(shell)? });
    for (group, name, subject) in [
        ("task", "submit", "submit.*"),
        ("task", "get", "get"),
        ("task", "list", "list"),
        ("task", "cancel", "cancel"),
        ("group", "get", "get"),
        ("group", "list", "list"),
        ("group", "members", "members"),
        ("agent", "get", "get"),
        ("agent", "list", "list"),
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
    let answer = match (group, name) {
        ("task", "submit") => submit::submit(context, &request.message.subject, &request.message.payload).await,
        _ => match questions::parse(&request.message.payload) {
            Ok(asked) => questions::ask(context, group, name, asked).await,
            Err(e) => Err(e),
        },
    };
    let (body, headers) = match answer {
        Ok(value) => (Bytes::from(value.to_string()), HeaderMap::new()),
        Err(error) => refusal(error),
    };
    // With an error as such the body would be empty; the headers of ADR-32 say that it is one.
    if let Err(e) = request.respond_with_headers(Ok(body), headers).await {
        warn!("the answer was not sent: {e}");
    }
}

fn refusal(error: Error) -> (Bytes, HeaderMap) {
    let (code, errors) = match error {
        Error::Refused(code, errors) => (code, errors),
        Error::Fault(fault) => {
            let problem = Problem::new("unavailable", "", fault.to_string());
            (503, vec![problem.hint("ask again; nothing is known to have happened")])
        }
    };
    let mut headers = HeaderMap::new();
    let text = errors.first().map_or_else(|| "refused".to_owned(), |e| e.message.replace(['\r', '\n'], " "));
    headers.insert("Nats-Service-Error", text.as_str());
    headers.insert("Nats-Service-Error-Code", code.to_string().as_str());
    (serde_json::to_vec(&Refused { errors }).unwrap_or_default().into(), headers)
}
