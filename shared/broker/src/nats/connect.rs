//! A connection, as the usual variables and the stock CLI's contexts say.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};

use super::api::jitter;
use super::context::Context;

const DEFAULT_URL: &str = "nats://127.0.0.1:4222";
/// The password of the agents' account in `nats/server.conf`, which is for loopback only.
const LOOPBACK: &str = "loopback";
/// How long the first connection is tried: long enough for a server that is started at the same time.
const FIRST: Duration = Duration::from_secs(15);

/// Who connects where.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// One URL or several, with commas between them.
    pub url: String,
    /// What `nats server report connections` shows.
    pub name: String,
    auth: Auth,
    ca: Option<PathBuf>,
    /// Certificate and key, PEM files.
    certificate: Option<(PathBuf, PathBuf)>,
    inbox_prefix: Option<String>,
}

#[derive(Clone)]
enum Auth {
    None,
    Password(String, String),
    Token(String),
    Creds(PathBuf),
    Nkey(PathBuf),
}

impl ConnectionSettings {
    /// What the variables say: `NATS_URL`, `NATS_CREDS`, `NATS_NKEY` (files), `NATS_USER` with `NATS_PASSWORD` (a user
    /// without a password is a token, as for the stock CLI), `NATS_CA`, `NATS_CERT`, `NATS_KEY`, each before the
    /// context, which `NATS_CONTEXT` names or `nats context select` chose.
    ///
    /// # Errors
    /// When the context cannot be read or asks for something that is not supported.
    pub fn from_environment(name: &str) -> Result<Self> {
        let context = Context::load(variable("NATS_CONTEXT").as_deref())?;
        Self::resolve(name, context, &variable)
    }

    /// A URL and nothing else.
    pub fn to(url: &str, name: &str) -> Self {
        Self {
            url: url.to_owned(),
            name: name.to_owned(),
            auth: Auth::None,
            ca: None,
            certificate: None,
            inbox_prefix: None,
        }
    }

    fn resolve(name: &str, context: Context, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let or = |name: &str, text: &str| variable(name).or_else(|| (!text.is_empty()).then(|| text.to_owned()));
        let url = or("NATS_URL", &context.url).unwrap_or_else(|| DEFAULT_URL.to_owned());
        let auth_from = |creds, nkey, user: Option<String>, password: Option<String>, token| match (
            creds, nkey, user, password, token,
        ) {
            (Some(creds), ..) => Some(Auth::Creds(path(creds))),
            (_, Some(nkey), ..) => Some(Auth::Nkey(path(nkey))),
            (_, _, Some(user), Some(password), _) => Some(Auth::Password(user, password)),
            (_, _, Some(token), None, _) | (_, _, None, _, Some(token)) => Some(Auth::Token(token)),
            (_, _, None, _, None) => None,
        };
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let of_variables = auth_from(
            variable("NATS_CREDS"),
            variable("NATS_NKEY"),
            variable("NATS_USER"),
            variable("NATS_PASSWORD"),
            None,
        );
        let of_context = auth_from(
            text(&context.creds),
            text(&context.nkey),
            text(&context.user),
            text(&context.password),
            text(&context.token),
        );
        let certificate = match (or("NATS_CERT", &context.cert), or("NATS_KEY", &context.key)) {
            (Some(cert), Some(key)) => Some((path(cert), path(key))),
            (None, None) => None,
            _ => bail!("a client certificate needs both NATS_CERT and NATS_KEY"),
        };
        Ok(Self {
            auth: of_variables.or(of_url(&url)?).or(of_context).unwrap_or(Auth::None),
            ca: or("NATS_CA", &context.ca).map(path),
            certificate,
            inbox_prefix: text(&context.inbox_prefix),
            ..Self::to(&url, name)
        })
    }

    /// The same server, as a user of the agents' account: `push`, `answer` or `agent`. The password is in
    /// `MUSTER_PUSH_PASSWORD` and so on; else it is the one of the loopback configuration.
    #[must_use]
    pub fn agents_user(&self, user: &str) -> Self {
        let password = variable(&format!("MUSTER_{}_PASSWORD", user.to_uppercase()));
        let auth = Auth::Password(user.to_owned(), password.unwrap_or_else(|| LOOPBACK.to_owned()));
        Self { name: format!("{} ({user})", self.name), auth, inbox_prefix: None, ..self.clone() }
    }

    async fn options(&self) -> Result<ConnectOptions> {
        let options = ConnectOptions::new();
        let mut options = match &self.auth {
            Auth::None => options,
            Auth::Password(user, password) => options.user_and_password(user.clone(), password.clone()),
            Auth::Token(token) => options.token(token.clone()),
            Auth::Creds(file) => options
                .credentials_file(file)
                .await
                .with_context(|| format!("the credentials file {} cannot be read", file.display()))?,
            Auth::Nkey(file) => {
                let seed = tokio::fs::read_to_string(file)
                    .await
                    .with_context(|| format!("the nkey file {} cannot be read", file.display()))?;
                options.nkey(seed.trim().to_owned())
            }
        };
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &self.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if let Some(prefix) = &self.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        let name = self.name.clone();
        Ok(options
            .name(&self.name)
            .connection_timeout(Duration::from_secs(5))
            .max_reconnects(None)
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                tell(&name, &event);
                std::future::ready(())
            }))
    }
}

/// The pause before a reconnect: at once, then growing to ten seconds, with jitter.
fn pause(attempts: usize) -> Duration {
    let most = Duration::from_millis(50 << attempts.min(8)).min(Duration::from_secs(10));
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

/// Connects; afterwards the connection comes back by itself for as long as it takes.
///
/// # Errors
/// When no server takes the connection within 15 seconds, at once when one refuses the credentials; it says what to do.
pub async fn connect(settings: &ConnectionSettings) -> Result<Client> {
    let servers = servers(&settings.url)?;
    let shown = servers.iter().map(|s| format!("{}:{}", s.host(), s.port())).collect::<Vec<_>>().join(", ");
    let deadline = tokio::time::Instant::now() + FIRST;
    loop {
        let error = match settings.options().await?.connect(servers.as_slice()).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => bail!(
                "the NATS server at {shown} refuses the credentials: {error}. \
                 Set NATS_CREDS, or NATS_USER and NATS_PASSWORD, or choose a context: nats context select"
            ),
            ConnectErrorKind::Tls => bail!("no TLS connection to {shown}: {error}. Is NATS_CA the server's authority?"),
            _ if tokio::time::Instant::now() >= deadline => bail!(
                "no NATS server answers at {shown}: {error}. Start one (muster up), or say where it is: \
                 NATS_URL=nats://host:4222, or nats context select"
            ),
            _ => tokio::time::sleep(jitter(Duration::from_millis(100), Duration::from_millis(300))).await,
        }
    }
}

fn servers(url: &str) -> Result<Vec<ServerAddr>> {
    let one = |url: &str| url.trim().parse().with_context(|| "NATS_URL is not a URL such as nats://host:4222");
    url.split(',').map(one).collect()
}

/// The credentials in a URL, `nats://user:password@host` or `nats://token@host`: async-nats leaves them out of account.
fn of_url(url: &str) -> Result<Option<Auth>> {
    let servers = servers(url)?;
    Ok(servers.iter().find_map(|server| match (server.username()?, server.password()) {
        (user, Some(password)) => Some(Auth::Password(user.to_owned(), password.to_owned())),
        (token, None) => Some(Auth::Token(token.to_owned())),
    }))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A path as the stock CLI takes it, with `~` for the home directory.
fn path(text: String) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(text),
    }
}
