//! Variables: names that stand for lists of paths or parts of commands.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Fault, malformed};
use crate::content::brief;

/// The longest rule, in bytes, after variables are replaced.
const MAX_BYTES: usize = 16 * 1024;

/// Refuses a path or program in which a variable is left: it would name what is not there, and `not f:` would hold.
///
/// # Errors
/// When a `$` with a letter or `_` after it stands in the text, at its start or not after a `\`.
pub(super) fn all_defined(text: &str) -> Result<(), Fault> {
    let left = text.match_indices('$').find(|(at, _)| {
        let (before, from) = text.split_at(*at);
        !before.ends_with('\\') && from.chars().nth(1).is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
    });
    match left {
        Some(_) => malformed(format!("a variable in '{}' is not defined", brief(text))),
        None => Ok(()),
    }
}

/// Names with their `$`, the longest first among those that begin alike, and values.
#[derive(Debug, Default)]
pub(crate) struct Variables(Vec<(String, String)>);

impl Variables {
    /// The members of a list become one value, with commas between them.
    pub(crate) fn new(values: BTreeMap<String, Value>) -> Self {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let value = |value: &Value| match value {
            Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
            value => text(value),
        };
        Self(values.iter().rev().map(|(name, given)| (name.clone(), value(given))).collect())
    }

    /// `text` with values in the place of names, not of those after a `\`. What a value holds is not replaced again.
    pub(crate) fn put_into(&self, text: &str) -> Result<String, Fault> {
        let mut replaced = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['\\', '$']) {
            let (before, from) = rest.split_at(at);
            replaced.push_str(before);
            let known = self.0.iter().find(|(name, _)| from.starts_with(name.as_str()));
            let (value, length) = match known {
                Some((name, value)) => (value.as_str(), name.len()),
                // The '\' or '$' itself, and what a '\' escapes.
                None => {
                    let length = from.chars().take(1 + usize::from(from.starts_with('\\'))).map(char::len_utf8).sum();
                    (from.get(..length).unwrap_or(from), length)
                }
            };
            replaced.push_str(value);
            rest = from.get(length..).unwrap_or_default();
            if replaced.len() > MAX_BYTES {
                break;
            }
        }
        replaced.push_str(rest);
        if replaced.len() > MAX_BYTES {
            return malformed(format!("with the values of variables it has more than {MAX_BYTES} bytes"));
        }
        Ok(replaced)
    }
}
