//! The contract: which schema a stored message must be valid against.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use jsonschema::{Draft, Registry, Validator};
use serde_json::Value;

/// The schemas of a folder, by the names of their files.
pub(crate) struct Schemas(HashMap<String, Validator>);

impl Schemas {
    /// Compiles all of them.
    ///
    /// # Errors
    /// When one cannot be read or is no JSON Schema.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let mut documents: Vec<(String, Value)> = Vec::new();
        for file in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = file?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            documents.push((name, serde_json::from_slice(&fs::read(&path)?)?));
        }
        let mut registry = Registry::new();
        for (_, document) in &documents {
            let id = document["$id"].as_str().context("a schema without $id")?.to_owned();
            registry = registry.add(id, document.clone()).map_err(|error| anyhow!("{error}"))?;
        }
        let registry = registry.prepare().map_err(|error| anyhow!("{error}"))?;
        let compile = |(name, document): (String, Value)| {
            let options = jsonschema::options().with_draft(Draft::Draft202012).with_registry(&registry);
            let validator = options.offline().should_validate_formats(true).build(&document);
            Ok((name.clone(), validator.map_err(|error| anyhow!("{name}: {error}"))?))
        };
        documents.into_iter().map(compile).collect::<Result<_>>().map(Self)
    }

    /// Why the document is not valid; `None` when it is.
    pub(crate) fn fault(&self, schema: &str, document: &Value) -> Option<String> {
        let Some(validator) = self.0.get(schema) else { return Some(format!("there is no schema {schema}")) };
        let error = validator.iter_errors(document).next()?;
        Some(format!("{schema}.json: {}: {error}", error.instance_path()).chars().take(400).collect())
    }
}
