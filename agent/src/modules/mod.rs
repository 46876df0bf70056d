//! The agent's modules: what a configuration makes the agent do. They are reconfigured while they run.

mod content;
pub mod logcollector;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use muster_core::configuration::Configuration;
use serde::Serialize;
use serde_json::{Value, json};

use self::logcollector::LogCollector;

/// What is in force after a configuration was applied, as the modules themselves say it. The same configuration
/// yields the same value, so a digest of it can be reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Applied {
    /// What each module loaded, by section.
    pub loaded: BTreeMap<String, Value>,
}

/// All modules of one agent.
pub struct Modules {
    root: PathBuf,
    logcollector: LogCollector,
}

impl Modules {
    /// Starts the modules of the agent whose files are in the directory `root`. They do nothing until the first
    /// [`Modules::apply`]; what they did before the agent was last stopped, or killed, they then go on with.
    ///
    /// # Errors
    /// When a module cannot open its files below `root`; the text says which.
    pub fn start(root: &Path) -> Result<Self, String> {
        let logcollector = LogCollector::start(root).map_err(|e| format!("logcollector: {e}"))?;
        Ok(Self { root: root.to_owned(), logcollector })
    }

    /// Puts the merged configuration of the agent's groups in force, without a restart. The content of a section that
    /// it disables (`sca`, `active_response`) is deleted from the disk.
    ///
    /// # Errors
    /// When a module did not load its section, or content could not be deleted. The caller then applies the last good
    /// configuration again: what comes before the module that failed may already be in force.
    pub async fn apply(&self, configuration: &Configuration) -> Result<Applied, String> {
        let mut loaded = BTreeMap::new();
        let collected = self.logcollector.apply(configuration.logcollector()).await;
        let collected = collected.map_err(|e| format!("logcollector: {e}"))?;
        loaded.insert("logcollector".to_owned(), json!(collected));
        for (section, directory) in content::OF_SECTIONS {
            let enabled = configuration.section_enabled(section).unwrap_or(true);
            if !enabled {
                content::delete(&self.root, directory).map_err(|e| format!("{section}: {e}"))?;
            }
            loaded.insert(section.to_owned(), json!({ "enabled": enabled }));
        }
        Ok(Applied { loaded })
    }

    /// Ends the modules; what they hold is on disk afterwards.
    pub async fn stop(self) {
        self.logcollector.stop().await;
    }
}

#[cfg(test)]
mod tests;
