//! Answers of endpoints, as ADR-32 has them: a document, or an error in two headers with the reasons in the body.

use async_nats::HeaderMap;
use async_nats::service::Request;
use bytes::Bytes;
use muster_broker::Fault;
use muster_core::message::Refused;
use muster_core::problem::Problem;
use serde_json::Value;
use tracing::warn;

/// What an endpoint answers: a document, or why not.
pub type Answer = Result<Value, Error>;

/// Why a request is not answered.
#[derive(Debug)]
pub enum Error {
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
    /// There is no such thing.
    pub fn missing(what: &str, name: &str, hint: &str) -> Self {
        let problem = Problem::new(&format!("unknown-{what}"), "", format!("there is no {what} '{name}'"));
        Self::Refused(404, vec![problem.hint(hint)])
    }
}

/// Sends an answer.
pub async fn send(request: &Request, answer: Answer) {
    let (body, headers) = match answer {
        Ok(value) => (Bytes::from(value.to_string()), HeaderMap::new()),
        Err(error) => refusal(error),
    };
    // With an error as such the body would be empty; the headers say that it is one.
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
