//! Sets of agent numbers as values hold them: a JSON list, or a portable Roaring bitmap, in JSON documents in Base64.

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roaring::RoaringBitmap;
use serde_json::Value;

/// The set that is the whole value of a key.
///
/// # Errors
/// When it is neither a list nor a bitmap.
pub(crate) fn of_key(value: &[u8]) -> Result<RoaringBitmap> {
    if value.first() == Some(&b'[') {
        return of_document(&serde_json::from_slice(value)?);
    }
    RoaringBitmap::deserialize_from(value).context("no portable Roaring bitmap")
}

/// The set that is a part of a JSON document.
///
/// # Errors
/// When it is neither a list nor a bitmap in Base64.
pub(crate) fn of_document(value: &Value) -> Result<RoaringBitmap> {
    match value {
        Value::Null => Ok(RoaringBitmap::new()),
        Value::Array(list) => list
            .iter()
            .map(|number| number.as_u64().and_then(|n| u32::try_from(n).ok()).context("no number of an agent"))
            .collect(),
        Value::String(text) => Ok(RoaringBitmap::deserialize_from(STANDARD.decode(text)?.as_slice())?),
        other => bail!("{other} is no set of numbers"),
    }
}

/// Some of the set, in words.
pub(crate) fn some(set: &RoaringBitmap) -> String {
    let first: Vec<String> = set.iter().take(5).map(|n| n.to_string()).collect();
    match set.len() {
        0..=5 => format!("{} ({})", set.len(), first.join(", ")),
        n => format!("{n} ({}, ...)", first.join(", ")),
    }
}
