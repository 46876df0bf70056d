//! The health endpoint: `/live` says that the process answers, `/ready` that it is bound to everything it needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

/// Whether a process is bound to everything it needs. Shared by all who can tell.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Says whether it is.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves `/live` (always 200 while the process answers, whatever NATS does) and `/ready` (200, or 503 while it is
/// not bound, or the connection is lost).
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(address: SocketAddr, ready: Ready, client: async_nats::Client) -> anyhow::Result<()> {
    let connected = move || client.connection_state() == async_nats::connection::State::Connected;
    let ready = move || {
        let code = if ready.get() && connected() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        async move { code }
    };
    let app = Router::new().route("/live", get(|| async { StatusCode::OK })).route("/ready", get(ready));
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
