//! Targets: whom a task concerns, as an expression over sets of agents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::numbers::Numbers;
use crate::problem::{Problem, Refusal};
use crate::query::Query;
use crate::status::Status;

/// At most this many ids in one target.
pub const MAX_IDS: usize = 10_000;
/// At most this deep may unions and differences be nested.
const MAX_DEPTH: usize = 8;

/// Whom a task concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub enum Target {
    /// The agents with these ids.
    Agents(Vec<String>),
    /// The members of these groups.
    Groups(Vec<String>),
    /// Every enrolled agent.
    All,
    /// The agents for which a [`Query`] holds.
    Query(String),
    /// The recipients of a task that have one of these statuses; failure, timeout or expired when there are none.
    Failures(String, Vec<Status>),
    /// Server nodes with these ids; all when there are none.
    Servers(Vec<String>),
    /// Whoever is in one of these.
    Any(Vec<Self>),
    /// Whoever is in the first and not in the second.
    Without(Box<Self>, Box<Self>),
}

/// The form on the wire: `{type, id}`, `{any}`, `{from, without}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Form {
    Plain {
        #[serde(rename = "type")]
        kind: Kind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<Ids>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        status: Vec<Status>,
    },
    Any {
        any: Vec<Target>,
    },
    Without {
        from: Box<Target>,
        without: Box<Target>,
    },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Agent,
    Group,
    All,
    Query,
    Failures,
    Server,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Ids {
    One(String),
    Many(Vec<String>),
}

impl Ids {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}

impl TryFrom<Form> for Target {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        let one = |id: Option<Ids>, what: &str| match id {
            Some(Ids::One(id)) => Ok(id),
            _ => Err(format!("a target of type '{what}' needs one 'id'")),
        };
        let some = |id: Option<Ids>, what: &str| {
            let list = id.map(Ids::list).unwrap_or_default();
            if list.is_empty() { Err(format!("a target of type '{what}' needs an 'id'")) } else { Ok(list) }
        };
        if let Form::Plain { kind, status, .. } = &form
            && !status.is_empty()
            && !matches!(kind, Kind::Failures)
        {
            return Err("only a target of type 'failures' has a 'status'".into());
        }
        Ok(match form {
            Form::Plain { kind: Kind::Agent, id, .. } => Self::Agents(some(id, "agent")?),
            Form::Plain { kind: Kind::Group, id, .. } => Self::Groups(some(id, "group")?),
            Form::Plain { kind: Kind::All, id: None, .. } => Self::All,
            Form::Plain { kind: Kind::All, .. } => return Err("a target of type 'all' has no 'id'".into()),
            Form::Plain { kind: Kind::Query, id, .. } => Self::Query(one(id, "query")?),
            Form::Plain { kind: Kind::Failures, id, status } => Self::Failures(one(id, "failures")?, status),
            Form::Plain { kind: Kind::Server, id, .. } => Self::Servers(id.map(Ids::list).unwrap_or_default()),
            Form::Any { any } => Self::Any(any),
            Form::Without { from, without } => Self::Without(from, without),
        })
    }
}

impl From<Target> for Form {
    fn from(target: Target) -> Self {
        let ids =
            |mut list: Vec<String>| Some(if list.len() == 1 { Ids::One(list.remove(0)) } else { Ids::Many(list) });
        let plain = |kind, id| Self::Plain { kind, id, status: Vec::new() };
        match target {
            Target::Agents(list) => plain(Kind::Agent, ids(list)),
            Target::Groups(list) => plain(Kind::Group, ids(list)),
            Target::All => plain(Kind::All, None),
            Target::Query(text) => plain(Kind::Query, Some(Ids::One(text))),
            Target::Failures(task, status) => Self::Plain { kind: Kind::Failures, id: Some(Ids::One(task)), status },
            Target::Servers(list) if list.is_empty() => plain(Kind::Server, None),
            Target::Servers(list) => plain(Kind::Server, ids(list)),
            Target::Any(any) => Self::Any { any },
            Target::Without(from, without) => Self::Without { from, without },
        }
    }
}

impl Target {
    /// The leaves of the expression, each once, with the JSON pointer to where it first stands (below `pointer`).
    pub fn leaves(&self, pointer: &str) -> Vec<(String, &Self)> {
        let mut out = Vec::new();
        self.walk(pointer.to_owned(), &mut out);
        out
    }

    fn walk<'a>(&'a self, pointer: String, out: &mut Vec<(String, &'a Self)>) {
        match self {
            Self::Any(parts) => {
                for (i, part) in parts.iter().enumerate() {
                    part.walk(format!("{pointer}/any/{i}"), out);
                }
            }
            Self::Without(from, without) => {
                from.walk(format!("{pointer}/from"), out);
                without.walk(format!("{pointer}/without"), out);
            }
            leaf if out.iter().any(|(_, seen)| *seen == leaf) => {}
            leaf => out.push((pointer, leaf)),
        }
    }

    /// What can be said against the target without looking at any state.
    pub fn problems(&self, pointer: &str) -> Refusal {
        if self.depth() > MAX_DEPTH {
            return vec![Problem::new(
                "target-too-deep",
                pointer,
                format!("a target is nested at most {MAX_DEPTH} deep"),
            )];
        }
        let leaves = self.leaves(pointer);
        let ids: usize = leaves.iter().map(|(_, leaf)| leaf.names()).sum();
        if ids > MAX_IDS {
            let message = format!("a target names at most {MAX_IDS} ids, this one names {ids}");
            return vec![Problem::new("too-many-ids", pointer, message).hint("use a group or a query")];
        }
        let mut problems = Vec::new();
        for (pointer, leaf) in leaves {
            if let Self::Query(text) = leaf
                && let Err(why) = Query::parse(text)
            {
                problems.push(Problem::new("query", format!("{pointer}/id"), why));
            }
        }
        problems
    }

    /// How many ids a leaf names.
    pub fn names(&self) -> usize {
        match self {
            Self::Agents(ids) | Self::Groups(ids) | Self::Servers(ids) => ids.len(),
            _ => 0,
        }
    }

    fn depth(&self) -> usize {
        1 + match self {
            Self::Any(parts) => parts.iter().map(Self::depth).max().unwrap_or(0),
            Self::Without(from, without) => from.depth().max(without.depth()),
            _ => 0,
        }
    }

    /// The set of the whole expression, from the sets of its leaves by their JSON pointers; a leaf that is missing
    /// there counts as empty.
    pub fn evaluate(&self, leaves: &BTreeMap<String, Numbers>, pointer: &str) -> Numbers {
        let first = self.leaves(pointer);
        self.eval(&|leaf| {
            let (pointer, _) = first.iter().find(|(_, seen)| *seen == leaf)?;
            leaves.get(pointer)
        })
    }

    fn eval<'a>(&self, set: &impl Fn(&Self) -> Option<&'a Numbers>) -> Numbers {
        match self {
            Self::Any(parts) => parts.iter().fold(Numbers::new(), |mut all, part| {
                all.union_with(&part.eval(set));
                all
            }),
            Self::Without(from, without) => from.eval(set).minus(&without.eval(set)),
            leaf => set(leaf).cloned().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn target(text: &str) -> Result<Target, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn set_algebra() {
        let t = target(r#"{"from":{"any":[{"type":"group","id":"web"},{"type":"group","id":"db"}]},"without":{"type":"agent","id":["001","002"]}}"#).unwrap();
        let leaves = t.leaves("/target");
        assert_eq!(
            leaves.iter().map(|(p, _)| p.as_str()).collect::<Vec<_>>(),
            ["/target/from/any/0", "/target/from/any/1", "/target/without"]
        );
        let sets = BTreeMap::from([
            ("/target/from/any/0".to_owned(), Numbers::from_iter([1, 3])),
            ("/target/from/any/1".to_owned(), Numbers::from_iter([2, 4])),
            ("/target/without".to_owned(), Numbers::from_iter([1, 2])),
        ]);
        assert_eq!(t.evaluate(&sets, "/target"), Numbers::from_iter([3, 4]));
        assert_eq!(target(&serde_json::to_string(&t).unwrap()).unwrap(), t);
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for bad in [
            r#"{"type":"all","id":"x"}"#,
            r#"{"type":"agent"}"#,
            r#"{"type":"group","id":[]}"#,
            r#"{"type":"fleet"}"#,
            r#"{"type":"all","any":[]}"#,
            "{}",
            r#"{"type":"query","id":["a"]}"#,
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
        let deep = (0..9).fold(Target::All, |inner, _| Target::Any(vec![inner]));
        assert_eq!(deep.problems("/target")[0].code, "target-too-deep");
        let many = Target::Agents((0..=MAX_IDS).map(|n| n.to_string()).collect());
        assert_eq!(many.problems("/target")[0].code, "too-many-ids");
        let query = target(r#"{"any":[{"type":"query","id":"os ="}]}"#).unwrap();
        assert_eq!(query.problems("/target")[0].pointer, "/target/any/0/id");
    }
}
