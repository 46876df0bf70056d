//! The configuration of server nodes: YAML as `schemas/server-settings.json` says.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

use crate::configuration::{checked, duration, size};
use crate::package::MAX_CHUNK;
use crate::problem::Problem;
use crate::schema::Schema;

static SCHEMA: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| Schema::compile(include_str!("../../../schemas/server-settings.json")));

/// What a node runs with; what the text leaves out has its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The least important that is written to the log: `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// The largest part of a package that is fetched or served at once, in bytes.
    pub chunk_size: u64,
    /// So often a node compares what it has with its record.
    pub sync_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { log_level: "info".into(), chunk_size: 256_000, sync_interval: Duration::from_secs(60) }
    }
}

/// Reads a configuration; an empty text is the default.
///
/// # Errors
/// As [`crate::configuration::parse`], with a problem for each fault; `size` for a size out of its bounds.
pub fn parse(text: &str) -> Result<Settings, Vec<Problem>> {
    let Some(document) = checked(text, SCHEMA.as_ref().map_err(Clone::clone))? else { return Ok(Settings::default()) };
    let default = Settings::default();
    let chunk_size = match &document["packages"]["chunk_size"] {
        Value::Null => default.chunk_size,
        given => bytes(given).filter(|bytes| (1000..=MAX_CHUNK).contains(bytes)).ok_or_else(|| {
            let message = format!("{given} is not between 1KB and {}KB", MAX_CHUNK / 1000);
            vec![Problem::new("size", "/packages/chunk_size", message)]
        })?,
    };
    Ok(Settings {
        log_level: document["log"]["level"].as_str().map_or(default.log_level, str::to_owned),
        chunk_size,
        sync_interval: document["sync"]["interval"].as_str().and_then(duration).unwrap_or(default.sync_interval),
    })
}

/// A size given as a number of bytes or as a text.
fn bytes(given: &Value) -> Option<u64> {
    given.as_u64().or_else(|| size(given.as_str()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(parse("").unwrap(), Settings::default());
        let given = parse("log:\n  level: debug\npackages:\n  chunk_size: 64KB\nsync:\n  interval: 5s\n").unwrap();
        assert_eq!((given.log_level.as_str(), given.chunk_size), ("debug", 64_000));
        assert_eq!(given.sync_interval, Duration::from_secs(5));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let problem = |text: &str| {
            let problem = parse(text).unwrap_err().remove(0);
            (problem.code, problem.pointer, problem.line)
        };
        assert_eq!(problem("log:\n  level: loud\n"), ("schema".into(), "/log/level".into(), Some(2)));
        assert_eq!(problem("lag: 1\n"), ("schema".into(), "/lag".into(), Some(1)));
        assert_eq!(problem("packages:\n  chunk_size: 2MB\n").1, "/packages/chunk_size");
        assert_eq!(problem("a: [").0, "yaml");
    }
}
