//! Packages of the agent: what is known of one, and what an agent is to become.

use serde::{Deserialize, Serialize};

/// What is known of a package: the body of a node's lane `package=<name>`. Its bytes lie in the object store `packages`
/// under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The name, which is the object's too.
    pub name: String,
    /// The version of the agent in it.
    pub version: String,
    /// The system that it runs on, such as `linux`.
    pub os: String,
    /// The processor that it runs on, such as `x86_64`.
    pub arch: String,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes in hex.
    pub sha256: String,
    /// A minisign signature of its bytes: the text of the `.minisig` file.
    pub signature: String,
}

impl Package {
    /// The system and processor that it runs on, as one word.
    pub fn platform(&self) -> String {
        platform(&self.os, &self.arch)
    }
}

/// A system and a processor as one word.
pub fn platform(os: &str, arch: &str) -> String {
    format!("{os}-{arch}")
}

/// What an agent is to become: the body of the lane `version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The package to run.
    pub package: Package,
    /// Whether it may be older than what runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// The largest part of a package that is handed over at once, in bytes.
pub const MAX_CHUNK: u64 = 512 * 1000;

/// The header that tells a refusal from bytes: the code of an error, as NATS' services name it.
pub const ERROR_CODE: &str = "Nats-Service-Error-Code";

/// A question for a part of a package: `agent.<id>.package`, and `node.package.<sha256>` among nodes. The answer is the
/// bytes themselves, as many as are there and no more than asked for; or a refusal, with the header [`ERROR_CODE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Which package.
    pub sha256: String,
    /// From which byte.
    pub offset: u64,
    /// How many bytes, at most [`MAX_CHUNK`].
    pub length: u64,
}
