//! Who connects where: the usual variables, then the stock CLI's context.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use async_nats::ServerAddr;
use muster_keys::{Key, Keys};

use super::context::Context;

const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

/// Who connects where. It holds secrets and so has no `Debug`.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// What `nats server report connections` shows.
    pub name: String,
    pub(super) servers: Vec<ServerAddr>,
    pub(super) auth: Auth,
    pub(super) ca: Option<PathBuf>,
    /// Certificate and key, PEM files.
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    pub(super) inbox_prefix: Option<String>,
    keys: Keys,
}

#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Auth {
    None,
    Password(String, String),
    Token(String),
    /// A credentials file.
    Creds(PathBuf),
    /// A file that holds a seed.
    Nkey(PathBuf),
    /// A seed.
    Seed(String),
}

impl Auth {
    /// Whether the server decides by its own file, at once, and asks nobody.
    pub(super) const fn is_known(&self) -> bool {
        matches!(self, Self::Seed(_))
    }
}

/// Credentials as variables and contexts name them.
#[derive(Default)]
struct Named {
    creds: Option<String>,
    nkey: Option<String>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

impl Named {
    fn auth(self) -> Option<Auth> {
        match self {
            Self { creds: Some(file), .. } => Some(Auth::Creds(path(file))),
            Self { nkey: Some(file), .. } => Some(Auth::Nkey(path(file))),
            Self { user: Some(user), password: Some(password), .. } => Some(Auth::Password(user, password)),
            // As for the stock CLI, a user without a password is a token.
            Self { user: Some(token), .. } | Self { token: Some(token), .. } => Some(Auth::Token(token)),
            Self { .. } => None,
        }
    }
}

impl ConnectionSettings {
    /// What the variables say: `NATS_URL` (several with commas between them), `NATS_CREDS`, `NATS_NKEY` (files),
    /// `NATS_USER` with `NATS_PASSWORD`, `NATS_CA`, `NATS_CERT`, `NATS_KEY`, each before the context, which
    /// `NATS_CONTEXT` names or `nats context select` chose.
    ///
    /// # Errors
    /// When the URL or the context cannot be read or asks for something that is not supported.
    pub fn from_environment(name: &str) -> Result<Self> {
        let context = match super::context::folder() {
            Some(folder) => Context::load(&folder, variable("NATS_CONTEXT").as_deref())?,
            None => Context::default(),
        };
        Self::resolve(name, &context, &variable)
    }

    /// A URL and nothing else, with credentials if it has some.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn to(url: &str, name: &str) -> Result<Self> {
        Self::resolve(name, &Context { url: url.to_owned(), ..Context::default() }, &|_| None)
    }

    fn resolve(name: &str, context: &Context, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let or = |name: &str, text: &str| variable(name).or_else(|| given(text));
        let servers = servers(or("NATS_URL", &context.url).as_deref().unwrap_or(DEFAULT_URL))?;
        let of_variables = Named {
            creds: variable("NATS_CREDS"),
            nkey: variable("NATS_NKEY"),
            user: variable("NATS_USER"),
            password: variable("NATS_PASSWORD"),
            token: None,
        };
        let of_context = Named {
            creds: given(&context.creds),
            nkey: given(&context.nkey),
            user: given(&context.user),
            password: given(&context.password),
            token: given(&context.token),
        };
        let certificate = match (or("NATS_CERT", &context.cert), or("NATS_KEY", &context.key)) {
            (Some(certificate), Some(key)) => Some((path(certificate), path(key))),
            (None, None) => None,
            _ => bail!("a client certificate needs both NATS_CERT and NATS_KEY"),
        };
        let auth = of_variables.auth().or_else(|| of_url(&servers)).or_else(|| of_context.auth());
        Ok(Self {
            name: name.to_owned(),
            auth: auth.unwrap_or(Auth::None),
            ca: or("NATS_CA", &context.ca).map(path),
            certificate,
            inbox_prefix: given(&context.inbox_prefix),
            keys: Keys::from_environment(),
            servers,
        })
    }

    /// The same with other keys than those that the variables name.
    #[must_use]
    pub fn with_keys(self, keys: Keys) -> Self {
        Self { keys, ..self }
    }

    /// The keys of the server's own users.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The same server, as one of its own users.
    ///
    /// # Errors
    /// When the user's seed is not to be had; the text says where it was looked for.
    pub fn as_user(&self, key: Key) -> Result<Self> {
        let auth = Auth::Seed(self.keys.pair(key)?.seed()?);
        Ok(Self { name: format!("{} ({})", self.name, key.name()), auth, inbox_prefix: None, ..self.clone() })
    }

    /// Where it connects, without credentials.
    pub fn shown(&self) -> String {
        let all: Vec<String> =
            self.servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
        all.join(", ")
    }
}

fn servers(url: &str) -> Result<Vec<ServerAddr>> {
    let one = |url: &str| url.trim().parse().context("the NATS URL is not one such as nats://host:4222");
    url.split(',').map(one).collect()
}

/// The credentials in a URL, `nats://user:password@host` or `nats://token@host`: async-nats leaves them out of account.
fn of_url(servers: &[ServerAddr]) -> Option<Auth> {
    let server = servers.iter().find(|server| server.has_user_pass())?;
    let user = unescape(server.username()?);
    Some(match server.password() {
        Some(password) => Auth::Password(user, unescape(password)),
        None => Auth::Token(user),
    })
}

/// A part of a URL without its `%hh`.
fn unescape(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn resolve(context: Context, variables: &[(&str, &str)]) -> Result<ConnectionSettings> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        ConnectionSettings::resolve("test", &context, &find)
    }

    fn context() -> Context {
        Context { url: "nats://of-context".into(), user: "carol".into(), password: "pw".into(), ..Context::default() }
    }

    #[test]
    fn variables_come_before_the_context() {
        let nothing = resolve(Context::default(), &[]).unwrap();
        assert_eq!((nothing.shown().as_str(), nothing.auth), ("127.0.0.1:4222", Auth::None));
        let of_context = resolve(context(), &[]).unwrap();
        assert_eq!(of_context.shown(), "of-context:4222");
        assert_eq!(of_context.auth, Auth::Password("carol".into(), "pw".into()));
        let mixed = resolve(context(), &[("NATS_URL", "nats://a:1,nats://b:2"), ("NATS_CREDS", "/x.creds")]).unwrap();
        assert_eq!((mixed.shown().as_str(), mixed.auth), ("a:1, b:2", Auth::Creds("/x.creds".into())));
        let token = resolve(context(), &[("NATS_USER", "t0ken")]).unwrap();
        assert_eq!(token.auth, Auth::Token("t0ken".into()));
        assert!(resolve(context(), &[("NATS_CERT", "/c.pem")]).is_err());
    }

    #[test]
    fn a_url_may_hold_credentials() {
        let auth = |url| ConnectionSettings::to(url, "test").unwrap().auth;
        assert_eq!(auth("nats://bob:p%40ss%zz@h"), Auth::Password("bob".into(), "p@ss%zz".into()));
        assert_eq!(auth("nats://t0ken@h"), Auth::Token("t0ken".into()));
        assert_eq!(auth("h:5"), Auth::None);
        let error = ConnectionSettings::to("ftp://h", "test").err().unwrap();
        assert!(error.to_string().contains("nats://host:4222"), "{error}");
    }
}
