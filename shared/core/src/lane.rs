//! What a command sets: a level lane (the newest state counts) or an edge (each one counts).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{escape, unescape};

/// A level lane of a recipient, such as `groups` or `config=<group>`; a lane belongs to one function.
///
/// A lane of a group's content names the group, and for contents with a name of their own that too:
/// `sca=<group>/<policy>`. So two groups may hold different revisions of one policy, and an agent that is in both merges
/// them in the order of its groups, as it does with configurations.
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
    /// The kind of the lanes of the groups' SCA policies.
    pub const SCA: &'static str = "sca";
    /// The kind of the lanes of the groups' active responses.
    pub const ACTIVE_RESPONSE: &'static str = "active-response";
    /// The lane of an agent's name.
    pub const NAME: &'static str = "name";
    /// The lane of the version that an agent is to have.
    pub const VERSION: &'static str = "version";
    /// The lane of the SCA content that comes with the content manager.
    pub const SCA_CONTENT: &'static str = "sca-content";
    /// The lane of the feed's offset up to which an agent's packages are to be matched.
    pub const RESCAN: &'static str = "rescan";
    /// The kind of a node's lanes of packages.
    pub const PACKAGE: &'static str = "package";
    /// The lane of the offset of a node's vulnerability database.
    pub const CVE_CONTENT: &'static str = "cve-content";
    /// The lane of a node's ruleset.
    pub const RULESET: &'static str = "ruleset";
    /// The lane of the servers' configuration.
    pub const SERVER_CONFIGURATION: &'static str = "server-configuration";
    /// The lane of the revision of roles and policies.
    pub const RBAC: &'static str = "rbac";

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

    /// The lane of a group's content; `content` is the content's lane without the group: `config`, `sca=<policy>`. For a
    /// content that is the same for all, such as `ruleset`, it is that lane.
    pub fn of_content(group: &str, content: &Self) -> Self {
        match (content.kind(), content.item()) {
            (Self::CONFIG, _) => Self::config(group),
            (Self::SCA | Self::ACTIVE_RESPONSE, Some(name)) => {
                Self::item_of(content.kind(), &format!("{group}/{name}"))
            }
            _ => content.clone(),
        }
    }

    /// The group whose content it is; none for lanes that no group has.
    pub fn group(&self) -> Option<&str> {
        let item = self.item()?;
        match self.kind() {
            Self::CONFIG => Some(item),
            Self::SCA | Self::ACTIVE_RESPONSE => item.split_once('/').map(|(group, _)| group),
            _ => None,
        }
    }

    /// The name of the policy, response or package; for other lanes what they are about.
    pub fn name(&self) -> Option<&str> {
        let item = self.item()?;
        match self.kind() {
            Self::SCA | Self::ACTIVE_RESPONSE => Some(item.split_once('/').map_or(item, |(_, name)| name)),
            _ => Some(item),
        }
    }

    /// The bucket and the name under which its bodies lie, for lanes whose entries point to one.
    pub fn bodies(&self) -> Option<(&'static str, &str)> {
        match self.kind() {
            Self::CONFIG => Some(("groups", self.item()?)),
            Self::SCA => Some(("sca", self.name()?)),
            Self::SCA_CONTENT => Some(("sca", "content")),
            Self::ACTIVE_RESPONSE => Some(("active-response", self.name()?)),
            Self::VERSION => Some(("packages", "upgrade")),
            Self::PACKAGE => Some(("packages", self.item()?)),
            Self::CVE_CONTENT => Some(("cve", "feed")),
            Self::RULESET => Some(("rulesets", "ruleset")),
            Self::SERVER_CONFIGURATION => Some(("server-configuration", "configuration")),
            _ => None,
        }
    }

    /// The bucket and the key of the body with this digest, for lanes whose entries point to one.
    pub fn body_at(&self, digest: &str) -> Option<(&'static str, String)> {
        self.bodies().map(|(bucket, name)| (bucket, format!("{}.{digest}", escape(name))))
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
        let policy = Lane::of_content("web", &Lane::item_of(Lane::SCA, "cis.debian"));
        assert_eq!(policy.body_at("ab12"), Some(("sca", "cis=2edebian.ab12".into())));
    }

    #[test]
    fn a_lane_of_a_content_names_its_group() {
        let policy = Lane::of_content("web.eu", &Lane::item_of(Lane::SCA, "cis"));
        assert_eq!((policy.group(), policy.name(), policy.item()), (Some("web.eu"), Some("cis"), Some("web.eu/cis")));
        assert_eq!(Lane::of_content("web", &Lane::of(Lane::CONFIG)), Lane::config("web"));
        assert_eq!(Lane::config("web").group(), Some("web"));
        let ruleset = Lane::of(Lane::RULESET);
        assert_eq!((Lane::of_content("default", &ruleset), ruleset.group()), (ruleset.clone(), None));
        assert_eq!(Lane::item_of(Lane::PACKAGE, "a/b").name(), Some("a/b"));
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
