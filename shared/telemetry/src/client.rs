//! The HTTP client of the exporters: plain HTTP/1.1 by hyper, which the processes carry anyway. OTLP over gRPC, or a
//! larger client, would bring a second HTTP stack and TLS roots for what is one small POST every few seconds.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

/// How long one request may take: the default of OTLP.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes; a collector's has some tens.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends to a collector by HTTP, a connection for each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client;

#[async_trait]
impl HttpClient for Client {
    /// The exporters call this on threads of their own, which may block: so a request needs nothing of the process's
    /// runtime and still goes out when that has ended.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, send(request)).await? })
    }
}

async fn send(mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (scheme, host) = (request.uri().scheme_str(), request.uri().host());
    let (Some("http"), Some(host)) = (scheme, host) else {
        return Err(format!("{}: the address of a collector is http://<host>:<port>", request.uri()).into());
    };
    let port = request.uri().port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let authority = HeaderValue::from_str(&format!("{host}:{port}"))?;
    // A client sends the path alone, and the host as a header.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse()?;
    *request.uri_mut() = path;
    request.headers_mut().insert(HOST, authority);
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (parts, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(parts, body))
}
