//! Puts the configurations of an agent's groups in force: checked, merged, written, loaded by the modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use muster_core::configuration::{Configuration, parse};
use muster_core::lane::Lane;
use muster_core::message::Outcome;
use muster_core::names::digest;
use muster_core::problem::in_words;
use muster_core::record::MAX_DIGESTS;
use muster_core::sca::Manifest;
use serde_json::{Value, json};

use crate::disk::{Contents, Root, replace};
use crate::modules::{Applied, Keeps as _, Modules, sca};
use crate::rules::outcome::{INVALID, NOT_APPLIED, UNKNOWN, outcome};
use crate::rules::{InForce, Single, State};
use crate::yaml;

/// What puts configurations in force, and knows which are.
pub struct Configurator {
    root: Root,
    contents: Contents,
    modules: Modules,
    loaded: BTreeMap<Lane, String>,
    /// The content that is loaded with all of its parts.
    whole: Option<(Lane, String)>,
}

/// A state whose contents are there and good.
struct Checked {
    bodies: Vec<(String, String)>,
    merged: Configuration,
}

impl Configurator {
    /// Starts the modules; nothing is in force yet.
    ///
    /// # Errors
    /// When a module cannot start; the text says which.
    pub fn start(root: Root) -> Result<Self, String> {
        let modules = Modules::start(root.path())?;
        Ok(Self { contents: Contents::of(&root), root, modules, loaded: BTreeMap::new(), whole: None })
    }

    /// The digests in force by lane, as the modules loaded them: of each group's configuration, and in the lane
    /// `config` that of what the modules say they run with; then of the contents of groups and others. No more of them
    /// than may be reported.
    pub fn digests(&self) -> BTreeMap<Lane, String> {
        let of_groups = self.modules.digests().into_iter().filter(|(lane, _)| lane.group().is_some());
        let whole = self.whole.iter().cloned();
        self.loaded.clone().into_iter().chain(whole).chain(of_groups).take(MAX_DIGESTS).collect()
    }

    /// The contents that this agent holds.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Puts a state in force while the modules run: all contents are checked before anything changes. When it fails,
    /// `last`, the state before, is in force.
    ///
    /// # Errors
    /// What is wrong, as it is to be reported.
    pub async fn put(&mut self, state: &InForce, last: &InForce) -> Result<(), Outcome> {
        let checked = self.check(state).map_err(failure)?;
        let Err(why) = self.load(state, &checked).await else { return Ok(()) };
        if let Ok(checked) = self.check(last)
            && let Err(error) = self.load(last, &checked).await
        {
            tracing::error!(%error, "the last good configuration cannot be put in force again");
        }
        Err(failure(why))
    }

    /// Puts the state of the ledger in force when the agent starts: what a crash left half done is then whole.
    ///
    /// # Errors
    /// What is wrong; then nothing is in force.
    pub async fn restore(&mut self, state: &InForce) -> Result<(), String> {
        let checked = self.check(state)?;
        self.load(state, &checked).await
    }

    /// Whether a lane's content can be put in force, with the evidence. It is on disk.
    ///
    /// # Errors
    /// What is wrong, as it is to be reported.
    pub fn check_content(&mut self, single: &Single) -> Result<Value, Outcome> {
        let (lane, Some(digest)) = (&single.lane, &single.entry.digest) else { return Ok(Value::Null) };
        let text = self.contents.get(digest).ok_or_else(|| failure(format!("the content {digest} is missing")))?;
        let Some(shelf) = self.modules.shelf(lane.kind()) else {
            return Err(outcome(UNKNOWN, format!("unknown lane: {lane}")));
        };
        let mut evidence = match lane.kind() {
            Lane::SCA_CONTENT => sca::check_content(&text, shelf, &|digest| self.contents.get(digest)),
            _ => shelf.check(lane, &text),
        }
        .map_err(|why| outcome(INVALID, why))?;
        evidence.insert("digest".into(), json!(digest));
        evidence.insert("enabled".into(), json!(shelf.is_enabled()));
        Ok(Value::Object(evidence))
    }

    /// The digests of the contents that the content of a lane consists of, beside itself.
    pub fn parts(&self, lane: &Lane, digest: &str) -> Vec<String> {
        let text = (lane.kind() == Lane::SCA_CONTENT).then(|| self.contents.get(digest)).flatten();
        let manifest = text.and_then(|text| Manifest::read(&text).ok());
        manifest.map(|manifest| manifest.policies.into_values().collect()).unwrap_or_default()
    }

    /// Loads the contents in force and drops all others, also from the disk. The digests of those that are missing
    /// there; the state holds what was in force and what was asked for last.
    pub fn follow(&mut self, state: &State) -> Vec<String> {
        let (in_force, mut missing) = self.in_force(&state.in_force);
        let contents = &self.contents;
        match self.modules.follow(&in_force, &|digest| contents.get(digest)) {
            Ok(more) => missing.extend(more),
            Err(why) => tracing::error!(%why, "the contents on disk are not those in force"),
        }
        let configurations = state.in_force.configurations.iter().map(|(_, digest)| digest.as_str());
        let allowed = |lane: &Lane, modules: &mut Modules| modules.shelf(lane.kind()).is_none_or(|s| s.is_enabled());
        let mut keep: BTreeSet<&str> = configurations.collect();
        let held = state.lanes.iter().filter_map(|held| Some((&held.lane, held.digest.as_deref()?)));
        for (lane, digest) in in_force.iter().map(|(lane, digest)| (lane, digest.as_str())).chain(held) {
            if allowed(lane, &mut self.modules) {
                keep.insert(digest);
            }
        }
        self.contents.keep(&keep);
        self.whole = whole(&in_force, &self.modules);
        missing
    }

    /// The contents in force, with the policies that the SCA content consists of; and its manifest, if that is missing.
    fn in_force(&self, state: &InForce) -> (Vec<(Lane, String)>, Vec<String>) {
        let mut all = state.contents.clone();
        let content = state.contents.iter().find(|(lane, _)| lane.kind() == Lane::SCA_CONTENT);
        let Some((lane, digest)) = content.filter(|_| self.modules.policies.is_enabled()) else {
            return (all, Vec::new());
        };
        match self.contents.get(digest).map(|text| Manifest::read(&text)) {
            Some(Ok(manifest)) => all.extend(manifest.bodies().map(|(lane, digest)| (lane, digest.to_owned()))),
            // It was read when it was taken; another version of the agent may think otherwise.
            Some(Err(problems)) => tracing::error!(%lane, ?problems, "a content in force cannot be loaded"),
            None => return (all, vec![digest.clone()]),
        }
        (all, Vec::new())
    }

    /// The modules, with what they have loaded.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// Ends the modules.
    pub async fn stop(self) {
        self.modules.stop().await;
    }

    fn check(&self, state: &InForce) -> Result<Checked, String> {
        let mut bodies = Vec::new();
        let mut parsed = Vec::new();
        for (group, digest) in &state.configurations {
            let body =
                self.contents.get(digest).ok_or_else(|| format!("group {group}: the content {digest} is missing"))?;
            parsed.push(parse(&body).map_err(|problems| format!("group {group}: {}", in_words(&problems)))?);
            bodies.push((group.clone(), body));
        }
        Ok(Checked { bodies, merged: Configuration::merge(&parsed) })
    }

    async fn load(&mut self, state: &InForce, checked: &Checked) -> Result<(), String> {
        self.write(checked).map_err(|error| format!("the configuration cannot be written: {error}"))?;
        let applied = self.modules.apply(&checked.merged).await?;
        self.loaded = loaded(state, &applied);
        Ok(())
    }

    /// Writes the files for people from the contents.
    fn write(&self, checked: &Checked) -> std::io::Result<()> {
        let mut files = BTreeSet::new();
        for (group, body) in &checked.bodies {
            let path = self.root.group(group);
            if fs::read(&path).ok().as_deref() != Some(body.as_bytes()) {
                replace(&path, body.as_bytes(), 0o600)?;
            }
            files.insert(path);
        }
        replace(&self.root.configuration(), yaml::write(checked.merged.value()).as_bytes(), 0o600)?;
        for file in fs::read_dir(self.root.groups())? {
            let path = file?.path();
            if !files.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn loaded(state: &InForce, applied: &Applied) -> BTreeMap<Lane, String> {
    let groups = state.configurations.iter().map(|(group, digest)| (Lane::config(group), digest.clone()));
    // Maps of texts and JSON values: it has a JSON form.
    let all = serde_json::to_vec(applied).map(|bytes| (Lane::of(Lane::CONFIG), digest(&bytes)));
    groups.chain(all).collect()
}

/// The content whose parts are all loaded.
fn whole(in_force: &[(Lane, String)], modules: &Modules) -> Option<(Lane, String)> {
    let content = in_force.iter().find(|(lane, _)| lane.kind() == Lane::SCA_CONTENT)?;
    let loaded: BTreeMap<Lane, String> = modules.policies.digests().into_iter().collect();
    let mut parts = in_force.iter().filter(|(lane, _)| lane.kind() == Lane::SCA && lane.group().is_none()).peekable();
    parts.peek()?;
    parts.all(|(lane, digest)| loaded.get(lane) == Some(digest)).then(|| content.clone())
}

fn failure(why: String) -> Outcome {
    outcome(NOT_APPLIED, why)
}

#[cfg(test)]
mod tests;
