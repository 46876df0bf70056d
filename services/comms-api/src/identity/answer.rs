//! What the server is told: who somebody is and may do, as JWTs that the issuer signs (ADR-26).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::request::Asked;

/// How long a newcomer may stay: then the server closes its connection.
const ENROLMENT: i64 = 60;
/// The account of all agents in the server's configuration.
const AGENTS: &str = "AGENTS";

/// The user of an agent: it may speak for itself and hear what is for it.
pub fn agent(issuer: &KeyPair, user: &str, id: &str, now: i64) -> Result<String, String> {
    let own = [format!("agent.{id}.>")];
    let permissions = json!({
        "pub": { "allow": own, "deny": [format!("agent.{id}.command")] },
        "sub": { "allow": [format!("agent.{id}.command"), format!("_INBOX.{id}.>")] },
    });
    sign(issuer, user_claims(user, id, permissions), now)
}

/// The user of whoever may become an agent: it may enrol, for a minute.
pub fn newcomer(issuer: &KeyPair, user: &str, nkey: &str, now: i64) -> Result<String, String> {
    let permissions = json!({
        "pub": { "allow": [format!("enrol.{nkey}")] },
        "sub": { "allow": [format!("_INBOX.{nkey}.>")] },
    });
    let mut claims = user_claims(user, &format!("enrol.{nkey}"), permissions);
    claims["exp"] = json!(now + ENROLMENT);
    sign(issuer, claims, now)
}

fn user_claims(user: &str, name: &str, mut nats: Value) -> Value {
    nats["type"] = json!("user");
    nats["version"] = json!(2);
    // Only the server's own limits: those of a callout's user are not looked at (nats-server 2.15).
    nats["subs"] = json!(-1);
    nats["data"] = json!(-1);
    nats["payload"] = json!(-1);
    json!({ "sub": user, "aud": AGENTS, "name": name, "nats": nats })
}

/// The answer to a request: a user, or why there is none.
pub fn response(issuer: &KeyPair, asked: &Asked, user: Result<String, String>, now: i64) -> Result<String, String> {
    let mut nats = json!({ "type": "authorization_response", "version": 2 });
    match user {
        Ok(user) => nats["jwt"] = json!(user),
        Err(why) => nats["error"] = json!(why),
    }
    sign(issuer, json!({ "aud": asked.server, "sub": asked.user, "nats": nats }), now)
}

fn sign(issuer: &KeyPair, mut claims: Value, now: i64) -> Result<String, String> {
    claims["iss"] = json!(issuer.public_key());
    claims["iat"] = json!(now);
    let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = issuer.sign(signed.as_bytes()).map_err(|e| format!("the issuer cannot sign: {e}"))?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
