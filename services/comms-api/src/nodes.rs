//! The way to the server nodes.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, HeaderMap, Request};
use async_trait::async_trait;
use bytes::Bytes;
use muster_broker::Fault;

/// Less than an agent waits for its answer.
const WAIT: Duration = Duration::from_secs(8);

/// The way to the server nodes: any of them answers.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Matches a packed inventory with the vulnerabilities that a node knows at an offset or beyond: what was found, or a
    /// refusal.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] when no node answers in time.
    async fn vulnerabilities(&self, inventory: Bytes, offset: u64) -> Result<Bytes, Fault>;
}

/// The nodes over NATS.
pub struct NatsNodes(pub Client);

#[async_trait]
impl Nodes for NatsNodes {
    async fn vulnerabilities(&self, inventory: Bytes, offset: u64) -> Result<Bytes, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert("Muster-Offset", offset.to_string());
        let request = Request::new().payload(inventory).headers(headers).timeout(Some(WAIT));
        match self.0.send_request("node.vulnerabilities.match", request).await {
            Ok(answer) => Ok(answer.payload),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                Err(Fault::Unavailable("no server node runs".into()))
            }
            Err(error) => Err(Fault::Unavailable(format!("no server node answers: {error}"))),
        }
    }
}
