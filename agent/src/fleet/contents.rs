//! The contents that a fleet was given. Each is checked once, whoever gets it, and only the verdict is kept.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use muster_core::configuration::parse;
use muster_core::lane::Lane;
use muster_core::names::{digest, is_digest};
use muster_core::problem::in_words;
use muster_core::sca::Manifest;
use tokio::sync::OnceCell;

use crate::modules::{active_response, sca};

/// Why a content is bad; `None` when it is good.
pub(super) type Verdict = Option<Arc<str>>;

/// The verdicts, by where the contents lie: the same text may be good in one lane and bad in another.
#[derive(Debug, Default)]
pub(super) struct Contents(Mutex<HashMap<At, Arc<OnceCell<Verdict>>>>);

/// A bucket and a key in it.
type At = (&'static str, String);

impl Contents {
    /// The verdict on a content that was seen before, or that its lane has no use for; `Err` when it was not.
    pub fn verdict(&self, lane: &Lane, of: &str) -> Result<Verdict, ()> {
        let Some(at) = lane.body_at(of) else { return Ok(None) };
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.get(&at).and_then(|cell| cell.get()).cloned().ok_or(())
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
        ask: impl Fn(String) -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<String>>,
    {
        // What is no digest is refused by the rules.
        let Some(at) = lane.body_at(of).filter(|_| is_digest(of) && self.verdict(lane, of).is_err()) else {
            return Ok(());
        };
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cells.entry(at).or_default().clone()
        };
        let get = async |of: &str| {
            let body = ask(of.to_owned()).await?;
            anyhow::ensure!(digest(body.as_bytes()) == of, "the content is not {of}");
            Ok(body)
        };
        let look = async {
            let body = match body.filter(|body| digest(body.as_bytes()) == of) {
                Some(body) => body.clone(),
                None => get(of).await?,
            };
            let mut found = check(lane, &body);
            if lane.kind() == Lane::SCA_CONTENT && found.is_ok() {
                let manifest = Manifest::read(&body).map_err(|problems| anyhow::anyhow!(in_words(&problems)))?;
                for (part, of) in manifest.bodies() {
                    found = found.and(check(&part, &get(of).await?));
                }
            }
            Ok(found.err().map(Arc::from))
        };
        cell.get_or_try_init(|| look).await.map(drop)
    }
}

/// Reads a content as the agent's modules do.
fn check(lane: &Lane, body: &str) -> Result<(), String> {
    let name = lane.name().unwrap_or_default();
    match lane.kind() {
        Lane::CONFIG => parse(body).map(drop).map_err(|problems| in_words(&problems)),
        Lane::SCA => sca::read(name, body).map(drop),
        Lane::SCA_CONTENT => Manifest::read(body).map(drop).map_err(|problems| in_words(&problems)),
        Lane::ACTIVE_RESPONSE => active_response::read(name, body).map(drop),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const POLICY: &str =
        "policy:\n  id: p\n  name: P\nchecks:\n  - id: 1\n    title: T\n    condition: all\n    rules: ['f:/etc']\n";

    #[tokio::test]
    async fn a_content_is_read_as_its_lane_says_and_a_manifest_with_its_policies() {
        let contents = Contents::default();
        let (good, bad) = (digest(POLICY.as_bytes()), digest(b"policy: 7"));
        let bodies = HashMap::from([(good.clone(), POLICY.to_owned()), (bad.clone(), "policy: 7".to_owned())]);
        let ask = |of: String| {
            let body = bodies.get(&of).cloned();
            async move { body.ok_or_else(|| anyhow::anyhow!("missing")) }
        };
        let (policy, config) = (Lane::item_of(Lane::SCA, "web/p"), Lane::config("web"));
        contents.see(&policy, &good, None, ask).await.unwrap();
        assert_eq!(contents.verdict(&policy, &good), Ok(None));
        assert_eq!(contents.verdict(&config, &good), Err(()));
        contents.see(&config, &good, None, ask).await.unwrap();
        assert!(contents.verdict(&config, &good).unwrap().unwrap().contains("/policy"));
        let content = Lane::of(Lane::SCA_CONTENT);
        for (part, is_good) in [(&good, true), (&bad, false)] {
            let manifest = format!(r#"{{"version":"1","policies":{{"p":"{part}"}}}}"#);
            let of = digest(manifest.as_bytes());
            contents.see(&content, &of, Some(&manifest), ask).await.unwrap();
            assert_eq!(contents.verdict(&content, &of).unwrap().is_none(), is_good);
        }
        let missing = digest(b"missing");
        assert!(contents.see(&policy, &missing, None, ask).await.is_err());
        assert_eq!(contents.verdict(&policy, &missing), Err(()));
    }
}
