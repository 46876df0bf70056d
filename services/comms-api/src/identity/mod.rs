//! Who connects to the agents' account. The server asks the gateways (auth callout) whenever somebody shows a key that
//! its configuration does not name, and closes what they tell it to close.

mod answer;
mod callout;
mod connections;
mod cut_off;
mod directory;
mod gone;
mod request;

pub use self::callout::answer_all;
pub use self::connections::Connections;
pub use self::cut_off::CutOff;
pub use self::gone::watch;

use std::sync::Arc;

use anyhow::Context as _;
use async_nats::Client;
use muster_keys::{Key, Keys};
use muster_runtime::steps::Context;
use nkeys::KeyPair;

use self::directory::Directory;
use self::request::{Asked, Claim};

/// Says who somebody is.
pub struct Identity {
    issuer: KeyPair,
    directory: Directory,
}

impl Identity {
    /// With the issuer's key, over the bucket `agents`.
    ///
    /// # Errors
    /// When the issuer's seed is not to be had.
    pub fn new(keys: &Keys, context: &Context) -> anyhow::Result<Arc<Self>> {
        let issuer = keys.pair(Key::Issuer).context("the gateway must sign who agents are")?;
        Ok(Arc::new(Self { issuer, directory: Directory::new(context) }))
    }

    /// The answer to what the server asked; `Err` when there is nothing that it could be told, or nobody who waits for
    /// it any more. Whoever is not surely admitted is refused.
    async fn answer(&self, payload: &[u8]) -> Result<String, String> {
        let asked = Asked::read(payload)?;
        let now = self.directory.now();
        if asked.expires <= now {
            return Err("the server has given up waiting".to_owned());
        }
        let user = match asked.claim() {
            Ok(claim) => self.admit(&asked, claim).await,
            Err(why) => Err(why.to_owned()),
        };
        answer::response(&self.issuer, &asked, user, now)
    }

    /// The claims of the user that somebody is.
    async fn admit(&self, asked: &Asked, claim: Claim<'_>) -> Result<String, String> {
        match claim {
            Claim::Newcomer { nkey, token } => {
                self.directory.check_token(token).await?;
                answer::newcomer(&self.issuer, &asked.user, nkey, self.directory.now())
            }
            Claim::Agent { nkey } => {
                let id = self.directory.agent(nkey).await?;
                answer::agent(&self.issuer, &asked.user, &id, self.directory.now())
            }
        }
    }
}

/// Waits until the server has the subscriptions that were made on this connection: a flush does not wait for it, a
/// request does, also one that nobody answers.
async fn subscribed(client: &Client) {
    let _ = client.request("nobody", "".into()).await;
}
