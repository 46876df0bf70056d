//! Installed packages and the system that they are installed on: what an agent reports and a node matches.

use serde::{Deserialize, Serialize};

use crate::version::Format;

/// A Linux system, as os-release(5) names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// `ID`: `debian`, `ubuntu`, `rhel`, `sles`.
    pub distribution: String,
    /// `VERSION_ID`: `12`, `9.4`. Empty when there is none, as in Debian's unstable.
    #[serde(default)]
    pub version: String,
    /// The release's code name. In a derivative that of the release it is made from: `UBUNTU_CODENAME`, `DEBIAN_CODENAME`, or else
    /// `VERSION_CODENAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codename: Option<String>,
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// `openssh-server`
    pub name: String,
    /// The whole version, `[epoch:]version[-release]`.
    pub version: String,
    /// `amd64`, `x86_64`
    pub arch: String,
    /// The source package that it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Whose package it is.
    pub format: Format,
}

/// A source package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// `openssh`
    pub name: String,
    /// Its version, when it is not that of the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
