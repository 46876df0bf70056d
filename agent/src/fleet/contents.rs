//! The contents that a fleet was given. Each is checked once, whoever gets it, and only the verdict is kept.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use muster_active_response::Response;
use muster_core::configuration::parse;
use muster_core::lane::Lane;
use muster_core::names::{digest, is_digest};
use muster_sca::Policy;
use tokio::sync::OnceCell;

/// Why a content is bad; `None` when it is good.
pub(super) type Verdict = Option<Arc<str>>;

#[derive(Debug, Default)]
pub(super) struct Contents(Mutex<HashMap<String, Arc<OnceCell<Verdict>>>>);

impl Contents {
    /// The verdict on a content that was seen before; `Err` when it was not.
    pub fn verdict(&self, of: &str) -> Result<Verdict, ()> {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.get(of).and_then(|cell| cell.get()).cloned().ok_or(())
    }

    /// Sees to it that there is a verdict. The body is taken from `body`, or asked for with `ask`, by one agent only.
    ///
    /// # Errors
    /// When the body is not to be had, or is not what the digest says.
    pub async fn see<F>(
        &self,
        lane: &Lane,
        of: &str,
        body: Option<&String>,
        ask: impl FnOnce() -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<String>>,
    {
        // What is no digest is refused by the rules.
        if !is_digest(of) || self.verdict(of).is_ok() {
            return Ok(());
        }
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cells.entry(of.to_owned()).or_default().clone()
        };
        let look = async {
            match body.filter(|body| digest(body.as_bytes()) == of) {
                Some(body) => Ok(check(lane, body)),
                None => {
                    let body = ask().await?;
                    anyhow::ensure!(digest(body.as_bytes()) == of, "the content is not {of}");
                    Ok(check(lane, &body))
                }
            }
        };
        cell.get_or_try_init(|| look).await.map(drop)
    }
}

fn check(lane: &Lane, body: &str) -> Verdict {
    let problems = match lane.kind() {
        Lane::CONFIG => parse(body).err(),
        Lane::SCA => Policy::parse(body).err(),
        Lane::ACTIVE_RESPONSE => Response::parse(body).err(),
        // A virtual agent has nothing that the others could be bad for.
        _ => None,
    };
    Some(problems?.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ").into())
}
