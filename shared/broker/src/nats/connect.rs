//! A connection that comes back by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, RequestErrorKind, ServerError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::api::jitter;
use super::settings::{Auth, ConnectionSettings};

/// How long the first connection is tried: long enough for a server that is started at the same time.
const FIRST: Duration = Duration::from_secs(15);
/// How long a server may think about credentials: longer than its own limit for asking the gateway (server.conf).
const VERDICT: Duration = Duration::from_secs(7);
/// The longest pause between two attempts later on.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Connects; afterwards the connection comes back by itself for as long as it takes.
///
/// # Errors
/// When no server takes the connection within 15 seconds, at once when one refuses the credentials; it says what to do.
pub async fn connect(settings: &ConnectionSettings) -> Result<Client> {
    connect_within(settings, FIRST).await
}

async fn connect_within(settings: &ConnectionSettings, limit: Duration) -> Result<Client> {
    let (shown, deadline) = (settings.shown(), tokio::time::Instant::now() + limit);
    loop {
        let (heard, events) = unbounded_channel();
        let error = match options(settings, heard).await?.connect(settings.servers.as_slice()).await {
            Ok(client) if settings.auth.is_known() || accepted(&client, events).await => return Ok(client),
            Ok(_) => bail!(refused(&shown, "authorization violation")),
            Err(error) => error,
        };
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                bail!(refused(&shown, &error.to_string()))
            }
            ConnectErrorKind::Tls => bail!("no TLS connection to {shown}: {error}. Is NATS_CA the server's authority?"),
            _ if tokio::time::Instant::now() >= deadline => bail!(
                "no NATS server answers at {shown}: {error}. Start one (muster up), or say where it is: \
                 NATS_URL=nats://host:4222, or nats context select"
            ),
            _ => tokio::time::sleep(jitter(Duration::from_millis(100), Duration::from_millis(300))).await,
        }
    }
}

fn refused(shown: &str, why: &str) -> String {
    format!(
        "the NATS server at {shown} refuses the credentials: {why}. \
         Set NATS_CREDS, NATS_NKEY, or NATS_USER and NATS_PASSWORD, or choose a context: nats context select"
    )
}

/// Whether the server has taken the credentials. The client calls itself connected at the server's first ping, while
/// the server may still be asking the gateway; only an answer to something later is a verdict.
async fn accepted(client: &Client, mut events: UnboundedReceiver<Event>) -> bool {
    let verdict = async {
        while let Some(event) = events.recv().await {
            match event {
                Event::Disconnected | Event::ServerError(ServerError::AuthorizationViolation) => return false,
                // It may not publish there: so it is known.
                Event::ServerError(_) => return true,
                _ => {}
            }
        }
        true
    };
    tokio::select! {
        verdict = verdict => verdict,
        answer = client.request("muster.nobody", "".into()) => {
            answer.map_or_else(|error| error.kind() == RequestErrorKind::NoResponders, |_| true)
        }
        () = tokio::time::sleep(VERDICT) => true,
    }
}

async fn options(settings: &ConnectionSettings, heard: UnboundedSender<Event>) -> Result<ConnectOptions> {
    let options = ConnectOptions::new();
    let mut options = match &settings.auth {
        Auth::None => options,
        Auth::Password(user, password) => options.user_and_password(user.clone(), password.clone()),
        Auth::Token(token) => options.token(token.clone()),
        Auth::Creds(file) => {
            let unreadable = || format!("the credentials file {} cannot be read", file.display());
            options.credentials_file(file).await.with_context(unreadable)?
        }
        Auth::Nkey(file) => {
            let unreadable = || format!("the nkey file {} cannot be read", file.display());
            options.nkey(tokio::fs::read_to_string(file).await.with_context(unreadable)?.trim().to_owned())
        }
        Auth::Seed(seed) => options.nkey(seed.clone()),
    };
    if let Some(ca) = &settings.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &settings.certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    if let Some(prefix) = &settings.inbox_prefix {
        options = options.custom_inbox_prefix(prefix);
    }
    let name = settings.name.clone();
    let tell = move |event| {
        tell(&name, &event);
        // Only until the verdict does anybody listen.
        let _ = heard.send(event);
        std::future::ready(())
    };
    Ok(options
        .name(&settings.name)
        .connection_timeout(Duration::from_secs(5))
        .max_reconnects(None)
        .reconnect_delay_callback(pause)
        .event_callback(tell))
}

/// The pause before a reconnect: short at first, then growing.
fn pause(attempts: usize) -> Duration {
    let most = Duration::from_millis(50 << attempts.min(8)).min(LONGEST_PAUSE);
    jitter(most / 2, most)
}

fn tell(connection: &str, event: &Event) {
    match event {
        Event::Connected => tracing::info!(connection, "connected to NATS"),
        Event::Disconnected => tracing::warn!(connection, "disconnected from NATS"),
        Event::SlowConsumer(subscription) => tracing::error!(connection, subscription, "messages were dropped"),
        Event::ServerError(error) => tracing::warn!(connection, %error, "the NATS server reports an error"),
        Event::ClientError(error) => tracing::warn!(connection, %error, "NATS client error"),
        other => tracing::debug!(connection, %other, "NATS"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use muster_keys::Key;
    use muster_testkit::NatsServer;

    use super::*;
    use crate::nats::NatsLink;
    use crate::{Link, Pushed};

    #[tokio::test(flavor = "multi_thread")]
    async fn as_control_and_as_a_user_of_the_agents_account() {
        let server = NatsServer::start().await.unwrap();
        let settings = ConnectionSettings::to(&server.url(), "test").unwrap().with_keys(server.keys().clone());
        let control = connect(&settings).await.unwrap();
        async_nats::jetstream::new(control.clone()).query_account().await.unwrap();
        // Who listens as `control` is in another account: to an agents' user nobody is there.
        let _listener = control.subscribe("agent.001.command").await.unwrap();
        let link = NatsLink::new(connect(&settings.as_user(Key::Push).unwrap()).await.unwrap()).await.unwrap();
        let pushed = link.push("001", "x".into(), muster_testkit::PATIENCE).await.unwrap();
        assert_eq!(pushed, Pushed::NoResponder);

        let wrong = server.url().replace("nats://", "nats://push:wrong@");
        let error = connect(&ConnectionSettings::to(&wrong, "test").unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("refuses the credentials") && !error.contains("wrong"), "{error}");
    }

    #[tokio::test]
    async fn where_no_server_is_the_error_says_what_to_do() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let settings = ConnectionSettings::to(&format!("nats://{free}"), "test").unwrap();
        let error = connect_within(&settings, Duration::from_millis(300)).await.unwrap_err().to_string();
        assert!(error.contains(&free.to_string()) && error.contains("NATS_URL"), "{error}");
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        assert!(pause(0) <= Duration::from_millis(50) && pause(1000) >= LONGEST_PAUSE / 2);
        assert!((0..100).all(|n| pause(n) <= LONGEST_PAUSE));
    }
}
