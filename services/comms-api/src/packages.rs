//! Parts of packages: a server node has the bytes, and only agents whose record names the package get them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use muster_core::lane::Lane;
use muster_core::names::is_digest;
use muster_core::package::{Chunk, MAX_CHUNK, Upgrade};
use muster_core::problem::{Problem, Refusal};
use muster_core::record::{Agent, Entry};
use tokio::sync::Semaphore;

use crate::bodies::Bodies;
use crate::nodes::Nodes;
use crate::refusal::{slow_down, unavailable};
use crate::report::document;

/// So many parts are under way at once for one agent.
const OF_ONE: usize = 4;
/// And for all of them: each holds its bytes in memory.
const OF_ALL: usize = 32;

/// Hands parts of packages to agents, a few at a time.
pub struct Packages {
    of_one: Mutex<HashMap<u32, usize>>,
    of_all: Semaphore,
}

impl Packages {
    /// None is under way.
    pub fn new() -> Self {
        Self { of_one: Mutex::default(), of_all: Semaphore::new(OF_ALL) }
    }

    /// The part that an agent asks for.
    ///
    /// # Errors
    /// When it is no good question, the agent's record does not name the package, or the bytes are not to be had now.
    pub async fn part(
        &self,
        nodes: &dyn Nodes,
        bodies: &Bodies,
        number: u32,
        agent: &Agent,
        question: &[u8],
    ) -> Result<Bytes, Refusal> {
        let chunk = read(question)?;
        let _turn = self.turn(number).ok_or_else(|| slow_down("this agent asks for too much at once"))?;
        let named = wanted(bodies, agent).await.map_err(unavailable)?;
        if named.is_none_or(|(_, upgrade)| upgrade.package.sha256 != chunk.sha256) {
            let problem = Problem::new("not-yours", "/sha256", "your desired state names no such package");
            return Err(vec![problem.hint("sync")]);
        }
        // The semaphore is never closed.
        let _room = self.of_all.acquire().await.map_err(|error| gone(error.to_string()))?;
        let part = nodes.part(&chunk).await.map_err(unavailable)?;
        match part.len() as u64 {
            more if more > chunk.length => Err(gone(format!("{more} bytes, where {} were asked for", chunk.length))),
            _ => Ok(part),
        }
    }

    fn turn(&self, number: u32) -> Option<Turn<'_>> {
        let mut all = self.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        let open = all.entry(number).or_default();
        (*open < OF_ONE).then(|| {
            *open += 1;
            Turn { of_one: &self.of_one, number }
        })
    }
}

/// A part that is under way; over when it is dropped.
struct Turn<'a> {
    of_one: &'a Mutex<HashMap<u32, usize>>,
    number: u32,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = all.get_mut(&self.number) {
            *open -= 1;
            if *open == 0 {
                all.remove(&self.number);
            }
        }
    }
}

/// The upgrade that an agent's record names, with the state of its lane.
///
/// # Errors
/// [`muster_broker::Fault::Unavailable`].
pub async fn wanted<'a>(
    bodies: &Bodies,
    agent: &'a Agent,
) -> Result<Option<(&'a Entry, Upgrade)>, muster_broker::Fault> {
    let lane = Lane::of(Lane::VERSION);
    let Some(entry) = agent.lanes.get(&lane) else { return Ok(None) };
    let found = bodies.find([(&lane, entry)].into_iter()).await?;
    let body = entry.digest.as_ref().and_then(|digest| found.get(digest));
    // It is kept as a JSON string, as it is handed over.
    let text = body.and_then(|json| serde_json::from_slice::<String>(json).ok());
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).map(|upgrade| (entry, upgrade)))
}

fn read(question: &[u8]) -> Result<Chunk, Refusal> {
    let chunk: Chunk = document(question)?;
    let bad = |pointer: &str, why: String| Err(vec![Problem::new("schema", pointer, why)]);
    if !is_digest(&chunk.sha256) {
        return bad("/sha256", "not a SHA-256 in hex".into());
    }
    if !(1..=MAX_CHUNK).contains(&chunk.length) {
        return bad("/length", format!("from 1 to {MAX_CHUNK} bytes are handed over at once"));
    }
    Ok(chunk)
}

fn gone(why: String) -> Refusal {
    vec![Problem::new("unavailable", "", why).hint("ask again in a few seconds")]
}
