//! How fast agents come in over connections of their own, as real agents do: with key and token to enrol, and again with
//! the key to say hello. Each of the two connections is decided by the gateway.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use muster_agent::link::{Access, ask};
use muster_core::message::{Enrol, Enrolled, HandOver, Hello};
use nkeys::KeyPair;
use serde::Serialize;

use crate::rollout::each;
use crate::system::{System, program};

/// So many are on their way at once.
const AT_ONCE: usize = 128;
/// An enrolment that takes longer than this has failed: an answer was lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Newcomers {
    /// So many agents.
    pub agents: u32,
    /// Seconds until all had an id and an answer to their hello.
    pub seconds: f64,
    /// How many that is in a minute.
    pub per_minute: f64,
    /// Microseconds of processor time an agent, by process; the agents themselves are `fleet`.
    pub cpu_us_per_agent: BTreeMap<String, f64>,
}

/// Lets so many agents come in on a system of their own.
///
/// # Errors
/// When one is refused.
pub async fn newcomers(count: u32) -> Result<Newcomers> {
    let system = System::start().await?;
    let token = system.token()?;
    let url = system.server.url();
    // The gateway is there when one is in.
    let mut tries = 0..10;
    while let Some(n) = tries.next() {
        match come(&url, &token, &format!("first-{n}")).await {
            Ok(()) => break,
            Err(why) if tries.is_empty() => return Err(why),
            Err(_) => {}
        }
    }
    let cpu = system.cpu()?;
    let began = Instant::now();
    let (url, token) = (&url, &token);
    let coming = stream::iter(0..count).map(|n| async move { come(url, token, &format!("newcomer-{n}")).await });
    coming.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_us_per_agent = each(&cpu, &system.cpu()?, count as usize);
    Ok(Newcomers { agents: count, seconds, per_minute: f64::from(count) / seconds * 60.0, cpu_us_per_agent })
}

async fn come(url: &str, token: &str, name: &str) -> Result<()> {
    let coming = async {
        let key = KeyPair::new_user();
        let (nkey, seed) = (key.public_key(), key.seed()?);
        let access = |token: Option<&str>| Access {
            url: url.to_owned(),
            seed: seed.clone().into(),
            token: token.map(|token| token.to_owned().into()),
        };
        let newcomer = access(Some(token)).connect(&nkey, None).await?;
        let question = Enrol { name: name.to_owned(), version: "1".into(), os: "linux".into() };
        let Enrolled { id, .. } = ask(&newcomer, format!("enrol.{nkey}"), &question).await?;
        drop(newcomer);
        let agent = access(None).connect(&id, None).await?;
        let hello = Hello {
            ledger: nkey,
            version: "1".into(),
            os: "linux".into(),
            arch: String::new(),
            labels: BTreeMap::new(),
            lanes: BTreeMap::new(),
            digests: BTreeMap::new(),
        };
        let answer: HandOver = ask(&agent, format!("agent.{id}.hello"), &hello).await?;
        ensure!(answer.name.as_deref() == Some(name), "{name} is taken for {:?}", answer.name);
        Ok(())
    };
    tokio::time::timeout(PATIENCE, coming).await.with_context(|| format!("{name} did not come in"))?
}

impl System {
    /// A token with which agents enrol.
    fn token(&self) -> Result<String> {
        let mut command = program()?;
        command.args(["token", "create", "--name", "bench"]).env("NATS_URL", self.server.url());
        let made = command.env("MUSTER_KEYS", self.server.keys().directory()).output()?;
        ensure!(made.status.success(), "no token: {}", String::from_utf8_lossy(&made.stderr));
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }
}
