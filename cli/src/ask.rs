//! Questions to the running system: a connection, one request, its answer or refusal.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_nats::{Client, Message, RequestErrorKind};
use bytes::Bytes;
use muster_broker::nats::{ConnectionSettings, connect};
use muster_core::message::Refused;
use muster_core::problem::Problem;
use serde_json::Value;

/// How long a person waits for a server that may not be there.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the answer may take: a cancel tells the whole chain.
const ANSWER: Duration = Duration::from_secs(15);

/// What an endpoint answers when it refuses.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// As that of HTTP.
    pub(crate) code: u16,
    /// At least one.
    pub(crate) problems: Vec<Problem>,
}

impl Refusal {
    /// There is no such task.
    pub(crate) fn unknown_task(id: &str) -> Self {
        let problem = Problem::new("unknown-task", "", format!("there is no task '{id}'"));
        Self { code: 404, problems: vec![problem.hint("see: muster task list")] }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Refusal {}

/// Connects to the control account, as the variables and contexts say.
pub(crate) async fn control() -> anyhow::Result<Client> {
    let settings = ConnectionSettings::from_environment("muster")?;
    match tokio::time::timeout(CONNECT, connect(&settings)).await {
        Ok(client) => client,
        Err(_) => bail!(
            "no NATS server answers at {}. Is it running? Start one: muster up; \
             or say where it is: --url nats://host:4222, --context NAME",
            settings.shown()
        ),
    }
}

/// Asks an endpoint of the task-manager.
///
/// # Errors
/// [`Refusal`] when it refuses; else what went wrong and what to do.
pub(crate) async fn ask(client: &Client, subject: &str, question: &Value) -> anyhow::Result<Value> {
    ask_bytes(client, subject, question.to_string().into()).await
}

/// The same with a body as it is.
pub(crate) async fn ask_bytes(client: &Client, subject: &str, body: Bytes) -> anyhow::Result<Value> {
    let request = async_nats::Request::new().payload(body).timeout(Some(ANSWER));
    let answer = client.send_request(subject.to_owned(), request).await.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => {
            anyhow!("nobody answers {subject}: the task-manager is not running. Start it: muster up, or muster run task-manager")
        }
        RequestErrorKind::TimedOut => anyhow!(
            "the task-manager did not answer {subject} within {} s. Ask again; a task with an --id of your own is done once at most",
            ANSWER.as_secs()
        ),
        _ => anyhow!("{subject}: {error}"),
    })?;
    read(&answer)
}

/// The document of an answer, or its refusal, which ADR-32 puts into headers.
fn read(answer: &Message) -> anyhow::Result<Value> {
    let header = |name| answer.headers.as_ref().and_then(|h| h.get(name)).map(ToString::to_string);
    if let Some(code) = header("Nats-Service-Error-Code") {
        let text = header("Nats-Service-Error").unwrap_or_default();
        let refused = serde_json::from_slice::<Refused>(&answer.payload).map(|refused| refused.errors);
        let problems = refused.ok().filter(|problems| !problems.is_empty());
        let problems = problems.unwrap_or_else(|| vec![Problem::new("refused", "", text)]);
        return Err(Refusal { code: code.parse().unwrap_or(500), problems }.into());
    }
    serde_json::from_slice(&answer.payload).context("the task-manager's answer is no JSON; is it of this version?")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use async_nats::HeaderMap;

    use super::*;

    fn message(code: Option<&str>, body: &str) -> Message {
        let mut headers = HeaderMap::new();
        if let Some(code) = code {
            headers.insert("Nats-Service-Error", "why");
            headers.insert("Nats-Service-Error-Code", code);
        }
        Message {
            subject: "s".into(),
            reply: None,
            payload: Bytes::copy_from_slice(body.as_bytes()),
            headers: Some(headers),
            status: None,
            description: None,
            length: body.len(),
        }
    }

    fn refusal(code: &str, body: &str) -> (u16, String, String) {
        let error = read(&message(Some(code), body)).unwrap_err();
        let Refusal { code, problems } = error.downcast_ref().unwrap();
        (*code, problems[0].code.clone(), problems[0].message.clone())
    }

    #[test]
    fn an_answer_is_a_document_or_a_refusal() {
        assert_eq!(read(&message(None, r#"{"id":"x"}"#)).unwrap()["id"], "x");
        let body = r#"{"errors":[{"code":"schema","pointer":"/args","message":"no"}]}"#;
        assert_eq!(refusal("400", body), (400, "schema".into(), "no".into()));
        for odd in ["", "{}", r#"{"errors":[]}"#] {
            assert_eq!(refusal("503", odd), (503, "refused".into(), "why".into()), "{odd}");
        }
        assert!(read(&message(None, "")).is_err());
    }
}
