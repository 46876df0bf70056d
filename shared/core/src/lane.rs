//! What a command sets: a level lane (the newest state counts) or an edge (each one counts).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{escape, unescape};

/// A level lane of a recipient, such as `groups` or `config=<group>`; a lane belongs to one function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lane {
    kind: String,
    item: Option<String>,
}

impl Lane {
    /// The lane of an agent's list of groups.
    pub const GROUPS: &'static str = "groups";
    /// The kind of the lanes of the groups' configurations.
    pub const CONFIG: &'static str = "config";

    /// A lane without an item.
    pub fn of(kind: &str) -> Self {
        Self { kind: kind.into(), item: None }
    }

    /// A lane of an item, such as a group or a policy.
    pub fn item_of(kind: &str, item: &str) -> Self {
        Self { kind: kind.into(), item: Some(item.into()) }
    }

    /// The lane of a group's configuration.
    pub fn config(group: &str) -> Self {
        Self::item_of(Self::CONFIG, group)
    }

    /// The lane's kind: what stands before the first `=`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The name that the lane is about, not escaped.
    pub fn item(&self) -> Option<&str> {
        self.item.as_deref()
    }

    /// The bucket and the key of the body with this digest, for lanes whose entries point to one.
    pub fn body_at(&self, digest: &str) -> Option<(&'static str, String)> {
        let bucket = match self.kind() {
            Self::CONFIG => "groups",
            _ => return None,
        };
        self.item().map(|item| (bucket, format!("{}.{digest}", escape(item))))
    }
}

/// The escaped form: safe as a token of a subject.
impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        self.item.as_ref().map_or(Ok(()), |item| write!(f, "={}", escape(item)))
    }
}

impl FromStr for Lane {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, item) = text.split_once('=').map_or((text, None), |(kind, item)| (kind, Some(item)));
        let fault = || format!("'{text}' is not a lane");
        if kind.is_empty() || item == Some("") || !kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
            return Err(fault());
        }
        let item = item.map(|token| unescape(token).ok_or_else(fault)).transpose()?;
        Ok(Self { kind: kind.into(), item })
    }
}

impl From<Lane> for String {
    fn from(lane: Lane) -> Self {
        lane.to_string()
    }
}

impl TryFrom<String> for Lane {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_configuration_lies_under_its_group_and_digest() {
        assert_eq!(Lane::config("web.eu").body_at("ab12"), Some(("groups", "web=2eeu.ab12".into())));
        assert_eq!(Lane::of("groups").body_at("ab12"), None);
    }

    #[test]
    fn a_lane_splits_at_its_first_equals_sign() {
        let lane = Lane::config("web.eu");
        assert_eq!(lane.to_string(), "config=web=2eeu");
        assert_eq!("config=web=2eeu".parse::<Lane>().unwrap(), lane);
        assert_eq!("groups".parse::<Lane>().unwrap(), Lane::of("groups"));
        assert!("config=a.b".parse::<Lane>().is_err() && "=x".parse::<Lane>().is_err() && "".parse::<Lane>().is_err());
        assert!("config=".parse::<Lane>().is_err());
    }
}
