//! What a CVE record says of a product: `affected[]` of CVE JSON 5.x (its schema, `product` and `versionStatus`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::version::MAX_VERSION;

/// The most platforms of a product, and the most version ranges.
const MAX_ENTRIES: usize = 4096;
/// The longest platform, in bytes.
const MAX_PLATFORM: usize = 256;

/// The status of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has the vulnerability.
    Affected,
    /// It does not have it.
    Unaffected,
    /// Nobody knows.
    #[default]
    Unknown,
}

/// The end of a range of versions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum End {
    /// The range is its first version alone.
    Single,
    /// Up to this version, without it.
    Before(String),
    /// Up to this version, with it.
    UpTo(String),
    /// It has no end: `*`.
    Open,
}

/// A range of versions with one status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Range {
    /// The first version. `0` is the first there is.
    pub first: String,
    /// Where it ends.
    pub end: End,
    /// The status of all versions in it.
    pub status: Status,
}

/// What is known of the versions of a product.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Versions {
    /// Ranges, and the status of what lies in none of them.
    Known {
        /// `defaultStatus`
        default: Status,
        /// `versions[]`
        ranges: Vec<Range>,
    },
    /// The feed says something that cannot be read. It counts as undetermined.
    Unreadable,
}

/// What one entry of `affected[]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// The product: in the containers of distributions the name of a package.
    pub product: String,
    /// The releases that it is about, sorted: code names or CPEs. None: all that the container is about.
    pub platforms: Vec<String>,
    /// Which versions.
    pub versions: Versions,
}

/// The longest name of a product, in bytes.
pub const MAX_PRODUCT: usize = 512;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    default_status: Status,
    #[serde(default)]
    platforms: Vec<String>,
    #[serde(default)]
    versions: Vec<WireRange>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRange {
    version: String,
    status: Status,
    version_type: Option<String>,
    less_than: Option<String>,
    less_than_or_equal: Option<String>,
}

impl Affected {
    /// Reads an entry of `affected[]`. The name is `packageName`, or else `product`. None when it has no name that can be a
    /// key (1 to 512 bytes); what else cannot be read makes its versions [`Versions::Unreadable`].
    #[must_use]
    pub fn parse(entry: &Value) -> Option<Self> {
        let name = |member| entry.get(member).and_then(Value::as_str).filter(|name| !name.is_empty());
        let product =
            name("packageName").or_else(|| name("product")).filter(|name| name.len() <= MAX_PRODUCT)?.to_owned();
        let Some((platforms, versions)) = Wire::deserialize(entry).ok().and_then(Wire::read) else {
            return Some(Self { product, platforms: Vec::new(), versions: Versions::Unreadable });
        };
        Some(Self { product, platforms, versions })
    }
}

impl Wire {
    fn read(mut self) -> Option<(Vec<String>, Versions)> {
        let bounded = self.platforms.len() <= MAX_ENTRIES && self.versions.len() <= MAX_ENTRIES;
        // A line break in it would make two of it where they are stored.
        if !bounded || self.platforms.iter().any(|platform| platform.len() > MAX_PLATFORM || platform.contains('\n')) {
            return None;
        }
        self.platforms.sort_unstable();
        self.platforms.dedup();
        let versions = match self.versions.into_iter().map(WireRange::read).collect() {
            Some(ranges) => Versions::Known { default: self.default_status, ranges },
            None => Versions::Unreadable,
        };
        Some((self.platforms, versions))
    }
}

impl WireRange {
    /// None for what has two ends, or an order that is no distribution's: `custom` is how the feed calls Ubuntu's and Arch's.
    fn read(self) -> Option<Range> {
        let known = matches!(self.version_type.as_deref(), None | Some("deb" | "dpkg" | "rpm" | "custom"));
        let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > MAX_VERSION);
        if !known || self.version.len() > MAX_VERSION || long(&self.less_than) || long(&self.less_than_or_equal) {
            return None;
        }
        let end = match (self.less_than, self.less_than_or_equal) {
            (None, None) if self.version == "*" => End::Open,
            (None, None) => End::Single,
            (Some(end), None) | (None, Some(end)) if end == "*" => End::Open,
            (Some(end), None) => End::Before(end),
            (None, Some(end)) => End::UpTo(end),
            (Some(_), Some(_)) => return None,
        };
        let first = if self.version == "*" { "0".into() } else { self.version };
        Some(Range { first, end, status: self.status })
    }
}
