//! The SCA content that the content manager publishes: a manifest that names policies by their digests.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::lane::Lane;
use crate::problem::Problem;
use crate::schema::Schema;

/// At most so many policies belong to one content, and to one group.
pub const MAX_POLICIES: usize = 64;

/// The largest manifest, in bytes.
pub const MAX_MANIFEST: usize = 64 * 1024;

static SCHEMA: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| Schema::compile(include_str!("../../../schemas/sca-manifest.json")));

/// The body of the lane `sca-content`: `content.<digest>` in the bucket `sca`. Each policy lies beside it as
/// `<name>.<digest>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the content.
    pub version: String,
    /// The digests of its policies by name.
    pub policies: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// The problems with the pointers into the manifest: `too-large` beyond [`MAX_MANIFEST`], `json`, or `schema` for what
    /// `schemas/sca-manifest.json` does not allow.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        let document = Schema::read(&SCHEMA, text.as_bytes(), MAX_MANIFEST)?;
        serde_json::from_value(document).map_err(|e| vec![Problem::new("schema", "", e.to_string())])
    }

    /// The lanes under which its policies lie, with their digests.
    pub fn bodies(&self) -> impl Iterator<Item = (Lane, &str)> {
        self.policies.iter().map(|(name, digest)| (Lane::item_of(Lane::SCA, name), digest.as_str()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_manifest_names_policies_or_says_where_it_does_not() {
        let digest = "0".repeat(64);
        let good = json!({ "version": "5.1.0-3", "policies": { "cis.debian": digest } }).to_string();
        let manifest = Manifest::read(&good).unwrap();
        let (lane, named) = manifest.bodies().next().unwrap();
        assert_eq!((lane.body_at(named), named), (Some(("sca", format!("cis=2edebian.{digest}"))), digest.as_str()));
        let refused = |text: &str| {
            let problem = Manifest::read(text).unwrap_err().remove(0);
            (problem.code, problem.pointer)
        };
        let pointer = |value: Value| refused(&value.to_string());
        assert_eq!(
            pointer(json!({ "version": "1", "policies": { "a": "x" } })),
            ("schema".into(), "/policies/a".into())
        );
        assert_eq!(pointer(json!({ "version": "1", "policies": {} })), ("schema".into(), "/policies".into()));
        assert_eq!(pointer(json!({ "version": "1", "policies": { "a/b": digest } })).0, "schema");
        assert_eq!(
            pointer(json!({ "version": "1", "policies": { "a": digest }, "x": 1 })),
            ("schema".into(), "/x".into())
        );
        assert_eq!(refused("{").0, "json");
        assert_eq!(refused(&"[".repeat(10_000)).0, "json");
        assert_eq!(refused(&" ".repeat(MAX_MANIFEST + 1)).0, "too-large");
    }
}
