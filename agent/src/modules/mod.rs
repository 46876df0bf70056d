//! The agent's modules: what a configuration makes the agent do. They are reconfigured while they run.

pub mod active_response;
pub mod logcollector;
pub mod sca;
mod shelf;
pub mod vulnerabilities;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use muster_active_response::Response;
use muster_core::configuration::{self, Configuration};
use muster_core::lane::Lane;
use muster_sca::Policy;
use serde::Serialize;
use serde_json::{Map, Value, json};

use self::logcollector::LogCollector;
pub use self::shelf::{Keeps, Shelf};

/// The sections that rule contents, and the lanes of these.
const SHELVES: [(&str, &str); 2] = [("sca", Lane::SCA), ("active_response", Lane::ACTIVE_RESPONSE)];

/// What is in force after a configuration was applied, as the modules themselves say it. The same configuration
/// yields the same value, so a digest of it can be reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Applied {
    /// What each module loaded, by section.
    pub loaded: BTreeMap<String, Value>,
}

/// All modules of one agent.
pub struct Modules {
    logcollector: LogCollector,
    /// The SCA policies of the agent's groups, and those of the content manager.
    pub policies: Shelf<Arc<Policy>>,
    /// The active responses of the agent's groups.
    pub responses: Shelf<Response>,
    /// What the section `sca` says.
    pub sca: configuration::Sca,
    /// What the section `active_response` says.
    pub repeated_offenders: Vec<u32>,
}

impl Modules {
    /// Starts the modules of the agent whose files are in the directory `root`. They do nothing until the first
    /// [`Modules::apply`]; what they did before the agent was last stopped, or killed, they then go on with.
    ///
    /// # Errors
    /// When a module cannot open its files below `root`; the text says which.
    pub fn start(root: &Path) -> Result<Self, String> {
        let logcollector = LogCollector::start(root).map_err(|e| format!("logcollector: {e}"))?;
        Ok(Self {
            logcollector,
            policies: Shelf::new(root, Lane::SCA, sca::read, sca::evidence),
            responses: Shelf::new(root, Lane::ACTIVE_RESPONSE, active_response::read, |_| Map::new()),
            sca: Configuration::default().sca(),
            repeated_offenders: Vec::new(),
        })
    }

    /// Puts the merged configuration of the agent's groups in force, without a restart. The content of a section that
    /// it disables (`sca`, `active_response`) is deleted from the disk.
    ///
    /// # Errors
    /// When a module did not load its section, or content could not be deleted. The caller then applies the last good
    /// configuration again: what comes before the module that failed may already be in force.
    pub async fn apply(&mut self, configuration: &Configuration) -> Result<Applied, String> {
        let mut loaded = BTreeMap::new();
        let collected = self.logcollector.apply(configuration.logcollector()).await;
        let collected = collected.map_err(|e| format!("logcollector: {e}"))?;
        loaded.insert("logcollector".to_owned(), json!(collected));
        for (section, kind) in SHELVES {
            let enabled = configuration.section_enabled(section).unwrap_or(true);
            if let Some(shelf) = self.shelf(kind) {
                shelf.switch(enabled).map_err(|e| format!("{section}: {e}"))?;
            }
            loaded.insert(section.to_owned(), json!({ "enabled": enabled }));
        }
        self.sca = configuration.sca();
        if let Some(Value::Object(section)) = loaded.get_mut("sca") {
            section.insert("interval".into(), json!(self.sca.interval.as_secs()));
            section.insert("scan_on_start".into(), json!(self.sca.scan_on_start));
        }
        self.repeated_offenders = configuration.repeated_offenders();
        Ok(Applied { loaded })
    }

    /// The active response that an agent in these groups runs under a name.
    ///
    /// # Errors
    /// That there is none, or that the configuration has disabled them.
    pub fn response(&self, groups: &[String], name: &str) -> Result<&Response, String> {
        if !self.responses.is_enabled() {
            return Err("active responses are disabled by the agent's configuration".into());
        }
        self.responses
            .named(groups, name)
            .ok_or_else(|| format!("no group of the agent has the active response '{name}'"))
    }

    /// The shelf for a kind of lanes; none when the lanes of this kind hold no contents of groups.
    pub fn shelf(&mut self, kind: &str) -> Option<&mut dyn Keeps> {
        match kind {
            Lane::SCA | Lane::SCA_CONTENT => Some(&mut self.policies),
            Lane::ACTIVE_RESPONSE => Some(&mut self.responses),
            _ => None,
        }
    }

    /// Loads the contents in force and drops all others. `text` knows the contents that are on disk; the digests of
    /// those missing are returned.
    ///
    /// # Errors
    /// When a file cannot be written or deleted.
    pub fn follow(
        &mut self,
        in_force: &[(Lane, String)],
        text: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>, String> {
        let mut missing = self.policies.follow(in_force, text)?;
        missing.extend(self.responses.follow(in_force, text)?);
        Ok(missing)
    }

    /// The digests of the contents that are loaded.
    pub fn digests(&self) -> Vec<(Lane, String)> {
        [self.policies.digests(), self.responses.digests()].concat()
    }

    /// Ends the modules; what they hold is on disk afterwards.
    pub async fn stop(self) {
        self.logcollector.stop().await;
    }
}

#[cfg(test)]
mod tests;
