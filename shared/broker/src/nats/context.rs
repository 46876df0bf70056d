//! Contexts of the stock CLI (`nats context`): where they lie and what of them counts here.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// A context's file. Other fields, such as its description, do not matter to a connection.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Context {
    pub url: String,
    pub user: String,
    pub password: String,
    pub token: String,
    pub creds: String,
    pub nkey: String,
    pub ca: String,
    pub cert: String,
    pub key: String,
    pub inbox_prefix: String,
    pub nsc: String,
    pub jetstream_domain: String,
    pub jetstream_api_prefix: String,
    pub socks_proxy: String,
}

/// A file of the CLI is small; a larger one is not one.
const MAX_FILE: u64 = 64 * 1024;

impl Context {
    /// From the CLI's folder: the context with this name, or the selected one, or an empty one where none is selected.
    pub(super) fn load(folder: &Path, name: Option<&str>) -> Result<Self> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => match read(&folder.join("context.txt")) {
                Ok(selected) if !selected.trim().is_empty() => selected.trim().to_owned(),
                _ => return Ok(Self::default()),
            },
        };
        if name.contains(['/', '\\']) || name.contains("..") {
            bail!("'{}' is no name of a NATS context; see: nats context ls", name.escape_default());
        }
        let path = folder.join("context").join(format!("{name}.json"));
        let text =
            read(&path).with_context(|| format!("the NATS context '{name}' cannot be read; see: nats context ls"))?;
        let context: Self = serde_json::from_str(&text).with_context(|| format!("the NATS context '{name}'"))?;
        context.supported().with_context(|| format!("the NATS context '{name}'"))?;
        Ok(context)
    }

    fn supported(&self) -> Result<()> {
        let unsupported = [
            ("nsc", &self.nsc),
            ("jetstream_domain", &self.jetstream_domain),
            ("jetstream_api_prefix", &self.jetstream_api_prefix),
            ("socks_proxy", &self.socks_proxy),
        ];
        match unsupported.iter().find(|(_, value)| !value.is_empty()) {
            Some((field, _)) => bail!("{field} is not supported; give url and creds instead"),
            None => Ok(()),
        }
    }
}

/// The CLI's folder.
pub(super) fn folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(base.join("nats"))
}

fn read(path: &Path) -> Result<String> {
    let size = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
    anyhow::ensure!(size <= MAX_FILE, "{} has {size} bytes", path.display());
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folder(contexts: &[(&str, &str)], selected: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("context")).unwrap();
        for (name, text) in contexts {
            std::fs::write(folder.path().join(format!("context/{name}.json")), text).unwrap();
        }
        std::fs::write(folder.path().join("context.txt"), selected).unwrap();
        folder
    }

    #[test]
    fn the_named_one_or_the_selected_one_or_none() {
        let folder =
            folder(&[("a", r#"{"url": "nats://a", "description": "x"}"#), ("b", r#"{"url": "nats://b"}"#)], "a\n");
        assert_eq!(Context::load(folder.path(), None).unwrap().url, "nats://a");
        assert_eq!(Context::load(folder.path(), Some("b")).unwrap().url, "nats://b");
        std::fs::remove_file(folder.path().join("context.txt")).unwrap();
        assert_eq!(Context::load(folder.path(), None).unwrap().url, "");
    }

    #[test]
    fn what_cannot_be_honoured_is_an_error() {
        let folder = folder(&[("nsc", r#"{"nsc": "nsc://o/a/u"}"#), ("bad", "{")], "gone");
        for (name, part) in
            [("nsc", "nsc is not supported"), ("bad", "EOF"), ("../x", "no name"), ("none", "context ls")]
        {
            let error = format!("{:#}", Context::load(folder.path(), Some(name)).err().unwrap());
            assert!(error.contains(part), "{name}: {error}");
        }
        assert!(Context::load(folder.path(), None).is_err(), "the selected one is gone");
    }
}
