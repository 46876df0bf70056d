//! Who is an agent, and which tokens are good. The records decide, read from the leader each time: a deleted agent or a
//! revoked token is never admitted from memory. A fault of the broker is a refusal.

use std::sync::{Mutex, PoisonError};

use muster_broker::{Fault, decode, kv};
use muster_core::names::escape;
use muster_core::record::Agent;
use muster_core::token::{self, Token};
use muster_runtime::steps::{AGENTS, Context};
use serde::de::DeserializeOwned;

use crate::recent::Recent;

/// At most about twice so many keys are remembered with their agents.
const KEYS: usize = 50_000;

/// What the bucket `agents` says of keys and tokens.
pub struct Directory {
    context: Context,
    /// Whose key a key is. It is so for ever, so it may be remembered; whether that agent may connect is not.
    ids: Mutex<Recent<String, String>>,
}

impl Directory {
    /// A directory that remembers nothing yet.
    pub fn new(context: &Context) -> Self {
        Self { context: context.clone(), ids: Mutex::new(Recent::new(KEYS)) }
    }

    /// The time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        self.context.clock.now().0 / 1000
    }

    /// The id of the agent that has this key and is not gone.
    ///
    /// # Errors
    /// When there is none, or it is not known.
    pub async fn agent(&self, nkey: &str) -> Result<String, String> {
        let known = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(&nkey.to_owned());
        let id = match known {
            Some(id) => id,
            None => {
                let id =
                    self.read::<String>(&format!("key.{}", escape(nkey))).await?.ok_or("this key is no agent's")?;
                let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
                ids.insert(nkey.to_owned(), id.clone(), 1);
                id
            }
        };
        let agent = self.read::<Agent>(&format!("id.{id}")).await?.ok_or("the agent has no record")?;
        if agent.gone {
            return Err(format!("agent {id} was deleted"));
        }
        if agent.nkey != nkey {
            return Err(format!("agent {id} has another key"));
        }
        Ok(id)
    }

    /// Whether agents may enrol with this token now.
    ///
    /// # Errors
    /// When they may not, or it is not known.
    pub async fn check_token(&self, text: &str) -> Result<(), String> {
        let token = self.read::<Token>(&token::key(text)).await?.ok_or("there is no such token")?;
        if token.is_valid(self.context.clock.now()) { Ok(()) } else { Err(format!("token {} has expired", token.name)) }
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, String> {
        let entry = self.context.bus.get(&kv::stream(AGENTS), &kv::subject(AGENTS, key)).await;
        let body = entry.map(|entry| entry.and_then(|e| e.body));
        let read = body.and_then(|body| body.map(|body| decode::<T>(AGENTS, key, &body)).transpose());
        read.map_err(|fault: Fault| format!("not known now: {fault}"))
    }
}
