//! What only the administrator of the machine says: `<root>/local.yml`, read once when the agent starts.

use std::io;

use anyhow::{Context as _, ensure};
use muster_core::configuration::yaml;
use serde::Deserialize;

use super::Root;

/// The largest file, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The agent's own local configuration. No group and no task changes it; it allows what nobody far away may decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Local {
    /// Of Security Configuration Assessment.
    pub sca: LocalSca,
}

/// The section `sca`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSca {
    /// Whether rules of policies may run commands, with the agent's rights: false unless said. Wazuh calls it
    /// `sca.remote_commands`.
    pub remote_commands: bool,
}

impl Local {
    /// Reads the file; without one nothing is allowed.
    ///
    /// # Errors
    /// When it cannot be read, is too large or is not of the form: it is not guessed what was meant.
    pub fn read(root: &Root) -> anyhow::Result<Self> {
        let path = root.local();
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Self::parse(&text).with_context(|| format!("the local configuration {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        ensure!(text.len() <= MAX_BYTES, "{} bytes; at most {MAX_BYTES} are allowed", text.len());
        let node = yaml::read(text).map_err(|problem| anyhow::anyhow!("{problem}"))?;
        node.map_or_else(|| Ok(Self::default()), |node| Ok(serde_json::from_value(node.value())?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_is_allowed_unless_the_file_says_so() {
        let home = tempfile::tempdir().unwrap();
        let root = Root::open(home.path()).unwrap();
        assert_eq!(Local::read(&root).unwrap(), Local::default());
        std::fs::write(root.local(), "sca:\n  remote_commands: true\n").unwrap();
        assert!(Local::read(&root).unwrap().sca.remote_commands);
        for bad in ["sca: {remote_command: true}", "sca: {remote_commands: 'yes'}", "scan: {}", "- a", "sca: ["] {
            std::fs::write(root.local(), bad).unwrap();
            assert!(format!("{:#}", Local::read(&root).unwrap_err()).contains("local.yml"), "{bad}");
        }
        std::fs::write(root.local(), "# nothing\n").unwrap();
        assert_eq!(Local::read(&root).unwrap(), Local::default());
        assert!(Local::parse(&"#".repeat(MAX_BYTES + 1)).is_err());
    }
}
