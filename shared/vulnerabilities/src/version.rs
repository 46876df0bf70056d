//! The orders of versions: dpkg's and rpm's.

use std::cmp::Ordering;

use debversion::Version as Deb;
use rpm_version::Evr;
use serde::{Deserialize, Serialize};

/// The longest version, in bytes.
pub const MAX_VERSION: usize = 256;

/// A package manager: the order of versions is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// dpkg: deb-version(7).
    Dpkg,
    /// rpm: rpm-version(7).
    Rpm,
}

/// A well-formed version. Those of two formats have no order.
#[derive(Debug, Clone)]
pub enum Version<'a> {
    /// `[epoch:]upstream[-revision]`
    Dpkg(Deb),
    /// `[epoch:]version[-release]`
    Rpm(Evr<'a>),
}

impl Format {
    /// Reads a version; none when its package manager would not take it, or when it is longer than [`MAX_VERSION`].
    #[must_use]
    pub fn version(self, text: &str) -> Option<Version<'_>> {
        if text.is_empty() || text.len() > MAX_VERSION || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        match self {
            Self::Dpkg => dpkg(text).map(Version::Dpkg),
            Self::Rpm => rpm(text).map(Version::Rpm),
        }
    }
}

fn dpkg(text: &str) -> Option<Deb> {
    let version: Deb = text.parse().ok()?;
    // A colon without an epoch before it, a hyphen without a revision after it: dpkg refuses them, the crate takes them for parts
    // of the upstream version.
    if (version.epoch.is_none() && text.contains(':')) || text.ends_with('-') {
        return None;
    }
    // To dpkg digits that are missing are zero, `1.0+b` is `1.0+b0`; to the crate they are less.
    let whole = |part: String| if part.ends_with(|last: char| last.is_ascii_digit()) { part } else { part + "0" };
    Some(Deb {
        epoch: version.epoch,
        upstream_version: whole(version.upstream_version),
        debian_revision: version.debian_revision.map(whole),
    })
}

fn rpm(text: &str) -> Option<Evr<'_>> {
    let evr = Evr::parse(text);
    let epoch = evr.epoch().bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with(':');
    let version =
        evr.version().starts_with(|first: char| first.is_ascii_alphanumeric()) && !evr.version().contains(':');
    let release = !evr.release().contains(['-', ':']) && !text.ends_with('-');
    (epoch && version && release).then_some(evr)
}

impl Version<'_> {
    /// The order of two versions of one format. Of two rpm versions releases count only when both have one: so rpm itself
    /// compares the versions of its dependencies, `1.10` stands for all releases of 1.10.
    #[must_use]
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Dpkg(left), Self::Dpkg(right)) => Some(left.cmp(right)),
            (Self::Rpm(left), Self::Rpm(right)) if left.release().is_empty() || right.release().is_empty() => {
                let bare = |evr: &Evr<'_>| Evr::new(evr.epoch().to_owned(), evr.version().to_owned(), String::new());
                Some(bare(left).cmp(&bare(right)))
            }
            (Self::Rpm(left), Self::Rpm(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }
}
