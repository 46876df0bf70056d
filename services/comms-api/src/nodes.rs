//! The way to the server nodes.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, HeaderMap, Message, Request};
use async_trait::async_trait;
use bytes::Bytes;
use muster_broker::{Fault, encode};
use muster_core::findings::{MATCH, OFFSET};
use muster_core::package::{Chunk, ERROR_CODE};

/// Less than an agent waits for its answer.
const WAIT: Duration = Duration::from_secs(8);
/// The same for a part of a package.
const PART: Duration = Duration::from_secs(5);

/// The way to the server nodes: any of them answers.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Matches a packed inventory with the vulnerabilities that a node knows at an offset or beyond: what was found, or a
    /// refusal.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] when no node answers in time.
    async fn vulnerabilities(&self, inventory: Bytes, offset: u64) -> Result<Bytes, Fault>;

    /// A part of a package.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] when no node that holds it answers in time.
    async fn part(&self, chunk: &Chunk) -> Result<Bytes, Fault>;
}

/// The nodes over NATS.
pub struct NatsNodes(pub Client);

impl NatsNodes {
    async fn ask(&self, subject: String, request: Request) -> Result<Message, Fault> {
        self.0.send_request(subject, request).await.map_err(|error| {
            Fault::Unavailable(match error.kind() {
                RequestErrorKind::NoResponders => "no server node has it".into(),
                _ => format!("no server node answers: {error}"),
            })
        })
    }
}

#[async_trait]
impl Nodes for NatsNodes {
    async fn vulnerabilities(&self, inventory: Bytes, offset: u64) -> Result<Bytes, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(OFFSET, offset.to_string());
        let request = Request::new().payload(inventory).headers(headers).timeout(Some(WAIT));
        Ok(self.ask(MATCH.into(), request).await?.payload)
    }

    async fn part(&self, chunk: &Chunk) -> Result<Bytes, Fault> {
        let request = Request::new().payload(encode(chunk)?).timeout(Some(PART));
        let answer = self.ask(format!("node.package.{}", chunk.sha256), request).await?;
        match answer.headers.as_ref().and_then(|headers| headers.get(ERROR_CODE)) {
            Some(_) => Err(Fault::Unavailable("the node has refused it".into())),
            None => Ok(answer.payload),
        }
    }
}
