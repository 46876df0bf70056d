//! What the server asks: who is it that shows these credentials? Of a key that its configuration does not name it has
//! checked nothing: that is done here.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use muster_core::token::MAX_TOKEN;
use nkeys::KeyPair;
use serde::Deserialize;

use crate::enrol::is_user_key;

/// The longest request that is looked at, in bytes.
const MAX_REQUEST: usize = 64 * 1024;

/// A request of the server, an "authorization request" of NATS (ADR-26).
#[derive(Debug)]
pub struct Asked {
    /// The server's id.
    pub server: String,
    /// The key under which the server keeps the one who connects: each answer is for one request.
    pub user: String,
    /// When the server stops waiting, in seconds since 1970.
    pub expires: i64,
    nonce: String,
    options: Options,
}

/// Whom somebody claims to be, proved by a signature.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim<'a> {
    /// Who has this key and wants to be an agent.
    Newcomer {
        /// The public key.
        nkey: &'a str,
        /// The token that permits it.
        token: &'a str,
    },
    /// The agent that has this key.
    Agent {
        /// The public key.
        nkey: &'a str,
    },
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    exp: i64,
    nats: Question,
}

#[derive(Deserialize)]
struct Question {
    server_id: Server,
    user_nkey: String,
    #[serde(default)]
    client_info: Client,
    #[serde(default)]
    connect_opts: Options,
}

#[derive(Deserialize)]
struct Server {
    id: String,
}

#[derive(Default, Deserialize)]
struct Client {
    #[serde(default)]
    nonce: String,
}

/// What the one who connects has shown. It holds a secret: no `Debug`.
#[derive(Default, Deserialize)]
struct Options {
    #[serde(default)]
    nkey: String,
    #[serde(default)]
    sig: String,
    #[serde(default)]
    auth_token: String,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("nkey", &self.nkey).finish_non_exhaustive()
    }
}

impl Asked {
    /// Reads a request. Its own signature says nothing more: only servers can publish where it comes from.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(payload: &[u8]) -> Result<Self, String> {
        if payload.len() > MAX_REQUEST {
            return Err(format!("a request of {} bytes; at most {MAX_REQUEST} are looked at", payload.len()));
        }
        let claims = payload.split(|byte| *byte == b'.').nth(1).ok_or("the request is no JWT")?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|e| format!("the request's claims: {e}"))?;
        let Claims { exp, nats } = serde_json::from_slice(&claims).map_err(|e| format!("the request's claims: {e}"))?;
        let Question { server_id, user_nkey, client_info, connect_opts } = nats;
        Ok(Self {
            server: server_id.id,
            user: user_nkey,
            expires: exp,
            nonce: client_info.nonce,
            options: connect_opts,
        })
    }

    /// Whom the one who connects claims to be. The signature over the server's nonce proves that it holds the key, with
    /// a token too.
    ///
    /// # Errors
    /// When it has shown no key, or has not proved that it holds it.
    pub fn claim(&self) -> Result<Claim<'_>, &'static str> {
        let Options { nkey, sig, auth_token } = &self.options;
        if !is_user_key(nkey) {
            return Err("an agent shows its nkey");
        }
        let signature = URL_SAFE_NO_PAD.decode(sig).or_else(|_| STANDARD.decode(sig));
        let signature = signature.map_err(|_| "the signature is none")?;
        let key = KeyPair::from_public_key(nkey).map_err(|_| "the nkey is none")?;
        if self.nonce.is_empty() || key.verify(self.nonce.as_bytes(), &signature).is_err() {
            return Err("the signature does not fit the key");
        }
        match auth_token.as_str() {
            "" => Ok(Claim::Agent { nkey }),
            token if token.len() > MAX_TOKEN => Err("the token is too long"),
            token => Ok(Claim::Newcomer { nkey, token }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn request(options: &Value, nonce: &str) -> Asked {
        let claims = json!({ "exp": 100, "nats": {
            "server_id": { "id": "NSERVER" }, "user_nkey": "UREQUEST",
            "client_info": { "nonce": nonce }, "connect_opts": options } });
        let jwt = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()));
        Asked::read(jwt.as_bytes()).unwrap()
    }

    #[test]
    fn only_who_holds_the_key_claims_it() {
        let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
        let (nkey, sign) =
            (key.public_key(), |key: &KeyPair, text: &str| URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).unwrap()));
        let good = sign(&key, "nonce");
        let agent = request(&json!({ "nkey": nkey, "sig": good }), "nonce");
        assert_eq!(agent.claim(), Ok(Claim::Agent { nkey: &nkey }));
        assert_eq!((agent.server.as_str(), agent.user.as_str(), agent.expires), ("NSERVER", "UREQUEST", 100));
        let newcomer = request(&json!({ "nkey": nkey, "sig": good, "auth_token": "t" }), "nonce");
        assert_eq!(newcomer.claim(), Ok(Claim::Newcomer { nkey: &nkey, token: "t" }));

        let long = "t".repeat(MAX_TOKEN + 1);
        let account = KeyPair::new_account();
        for (bad, nonce) in [
            (json!({}), "nonce"),
            (json!({ "nkey": nkey }), "nonce"),
            (json!({ "nkey": nkey, "auth_token": "t" }), "nonce"),
            (json!({ "nkey": nkey, "sig": "!" }), "nonce"),
            (json!({ "nkey": nkey, "sig": sign(&other, "nonce") }), "nonce"),
            (json!({ "nkey": nkey, "sig": sign(&other, "nonce"), "auth_token": "t" }), "nonce"),
            (json!({ "nkey": nkey, "sig": good }), "another"),
            (json!({ "nkey": nkey, "sig": sign(&key, "") }), ""),
            (json!({ "nkey": nkey, "sig": good, "auth_token": long }), "nonce"),
            (json!({ "nkey": account.public_key(), "sig": sign(&account, "nonce") }), "nonce"),
            (json!({ "nkey": "*", "sig": good }), "nonce"),
            (json!({ "jwt": "e30.e30.e30", "sig": good }), "nonce"),
            (json!({ "user": "control", "pass": "" }), "nonce"),
        ] {
            assert!(request(&bad, nonce).claim().is_err(), "{bad}");
        }
        assert!(!format!("{newcomer:?}").contains("auth_token"), "{newcomer:?}");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let large = vec![b'x'; MAX_REQUEST + 1];
        for bad in [&b""[..], b"a.b.c", b"a.e30.c", &large] {
            assert!(Asked::read(bad).is_err());
        }
    }
}
