//! Users, roles and policies, in the words of Wazuh's Management API 4.x: a policy has actions, resources and an effect; a
//! role has policies; a user has roles. They lie in the bucket `rbac` as `policy.<name>`, `role.<name>`, `user.<name>`,
//! names escaped as everywhere.
//!
//! The mode is white: what no policy allows is denied, and a policy that denies beats those that allow. As long as there
//! is no user at all, everything is allowed: nobody has set it up.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::names::unescape;
use crate::problem::{Problem, Refusal};
use crate::target::Target;
use crate::task::TaskType;

/// The bucket.
pub const BUCKET: &str = "rbac";
/// At most this many problems are named.
const MAX_PROBLEMS: usize = 20;

/// `policy.<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Such as `agent:upgrade`, `agent:*` or `*:*`.
    pub actions: Vec<String>,
    /// Such as `agent:id:007`, `agent:group:web`, `group:id:*`, `node:id:*` or `*:*:*`.
    pub resources: Vec<String>,
    /// Whether it allows or denies.
    pub effect: Effect,
}

/// What a policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever others allow.
    Deny,
}

/// `role.<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// The names of its policies.
    pub policies: Vec<String>,
}

/// `user.<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The names of its roles.
    pub roles: Vec<String>,
}

/// A question: may this user ask for this task? Asked at `node.rbac.check`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Who asks; nobody in particular when there is none.
    #[serde(default)]
    pub user: Option<String>,
    /// For which type of task.
    #[serde(rename = "type")]
    pub kind: TaskType,
    /// Whom the task concerns.
    #[serde(default)]
    pub target: Option<Target>,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// At which revision of the bucket this was so.
    pub revision: u64,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// All of it, checked as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The policies of each user.
    users: BTreeMap<String, Vec<Policy>>,
}

impl Rules {
    /// Reads the documents of the bucket by their keys.
    ///
    /// # Errors
    /// A problem for each document that is none or names what does not exist, at most 20; the pointer is the key.
    pub fn read<'a>(documents: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Refusal> {
        let mut problems = Vec::new();
        let (mut users, mut roles, mut policies) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (key, text) in documents {
            let fault = |why: String| Problem::new("rbac", format!("/{key}"), why);
            let Some((kind, name)) = key.split_once('.').and_then(|(kind, name)| Some((kind, unescape(name)?))) else {
                problems.push(fault("the key is not policy.<name>, role.<name> or user.<name>".into()));
                continue;
            };
            let read = match kind {
                "policy" => policy(text).map(|policy| drop(policies.insert(name, policy))),
                "role" => document::<Role>(text).map(|role| drop(roles.insert(name, role))),
                "user" => document::<User>(text).map(|user| drop(users.insert(name, user))),
                _ => Err("the key is not policy.<name>, role.<name> or user.<name>".into()),
            };
            problems.extend(read.err().map(fault));
        }
        let mut of_roles: BTreeMap<&String, Vec<&Policy>> = BTreeMap::new();
        for (name, role) in &roles {
            for policy in &role.policies {
                match policies.get(policy) {
                    Some(policy) => of_roles.entry(name).or_default().push(policy),
                    None => problems.push(unknown("role", name, "policy", policy)),
                }
            }
        }
        let mut rules = Self::default();
        for (name, user) in &users {
            let mut all = Vec::new();
            for role in &user.roles {
                match roles.contains_key(role) {
                    true => all.extend(of_roles.get(role).into_iter().flatten().map(|policy| (*policy).clone())),
                    false => problems.push(unknown("user", name, "role", role)),
                }
            }
            rules.users.insert(name.clone(), all);
        }
        problems.truncate(MAX_PROBLEMS);
        if problems.is_empty() { Ok(rules) } else { Err(problems) }
    }

    /// Whether the user may ask for a task of this type with this target, and why not.
    ///
    /// # Errors
    /// Why it may not.
    pub fn check(&self, question: &Question) -> Result<(), String> {
        if self.users.is_empty() {
            return Ok(());
        }
        let user = question.user.as_deref().ok_or("the task names no user")?;
        let policies = self.users.get(user).ok_or_else(|| format!("there is no user '{user}'"))?;
        let action = action(question.kind);
        for resource in resources(question) {
            let concerns = |policy: &&Policy| {
                policy.actions.iter().any(|a| covers(a, action))
                    && policy.resources.iter().any(|r| covers(r, &resource))
            };
            let mut found = policies.iter().filter(concerns).peekable();
            if found.peek().is_none() {
                return Err(format!("no policy allows '{user}' {action} on {resource}"));
            }
            if found.any(|policy| policy.effect == Effect::Deny) {
                return Err(format!("a policy denies '{user}' {action} on {resource}"));
            }
        }
        Ok(())
    }
}

fn document<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

fn policy(text: &str) -> Result<Policy, String> {
    let policy: Policy = document(text)?;
    if let Some(action) = policy.actions.iter().find(|a| a.split(':').count() != 2) {
        return Err(format!("'{action}' is no action of the form <what>:<verb>"));
    }
    if let Some(resource) = policy.resources.iter().find(|r| r.split(':').count() != 3) {
        return Err(format!("'{resource}' is no resource of the form <what>:<attribute>:<value>"));
    }
    Ok(policy)
}

fn unknown(kind: &str, name: &str, what: &str, missing: &str) -> Problem {
    let pointer = format!("/{kind}.{}", crate::names::escape(name));
    Problem::new("rbac", pointer, format!("there is no {what} '{missing}'"))
}

/// Whether a pattern, in which each part may be `*`, covers a word with as many parts.
fn covers(pattern: &str, word: &str) -> bool {
    let mut parts = pattern.split(':').zip(word.split(':'));
    pattern.split(':').count() == word.split(':').count() && parts.all(|(p, w)| p == "*" || p == w)
}

/// The action of the Management API that a type of task is.
const fn action(kind: TaskType) -> &'static str {
    match kind {
        TaskType::GroupAssignment => "agent:modify_group",
        TaskType::GroupConfiguration => "group:update_config",
        TaskType::AgentUpgrade => "agent:upgrade",
        TaskType::AgentPackage => "package:update",
        TaskType::AgentName => "agent:rename",
        TaskType::ScaPolicy | TaskType::ScaContent => "sca:update",
        TaskType::VulnerabilityRescan => "vulnerability:run",
        TaskType::CveContent => "vulnerability:update",
        TaskType::ActiveResponseConfiguration => "active-response:update",
        TaskType::ActiveResponseExecution => "active-response:command",
        TaskType::RulesetUpdate => "rules:update",
        TaskType::ServerConfiguration => "cluster:update_config",
        TaskType::AgentDeletion => "agent:delete",
        TaskType::RbacChange => "security:update",
    }
}

/// The resources that a task is about: those that its target names one by one, and everything where it does not.
fn resources(question: &Question) -> BTreeSet<String> {
    let what = if question.kind == TaskType::GroupConfiguration { "group:id" } else { "agent:group" };
    let mut found = BTreeSet::new();
    for (_, leaf) in question.target.iter().flat_map(|target| target.leaves("")) {
        match leaf {
            Target::Agents(ids) => found.extend(ids.iter().map(|id| format!("agent:id:{id}"))),
            Target::Groups(names) => found.extend(names.iter().map(|name| format!("{what}:{name}"))),
            Target::Servers(ids) if !ids.is_empty() => found.extend(ids.iter().map(|id| format!("node:id:{id}"))),
            Target::Servers(_) => drop(found.insert("node:id:*".into())),
            _ => drop(found.insert("agent:id:*".into())),
        }
    }
    if found.is_empty() {
        found.insert("*:*:*".into());
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DOCUMENTS: [(&str, &str); 6] = [
        ("policy.web", r#"{"actions":["agent:*"],"resources":["agent:group:web","agent:id:007"],"effect":"allow"}"#),
        ("policy.no-upgrade", r#"{"actions":["agent:upgrade"],"resources":["*:*:*"],"effect":"deny"}"#),
        ("policy.all", r#"{"actions":["*:*"],"resources":["*:*:*"],"effect":"allow"}"#),
        ("role.web", r#"{"policies":["web"]}"#),
        ("role.careful", r#"{"policies":["all","no-upgrade"]}"#),
        ("user.ada", r#"{"roles":["web"]}"#),
    ];

    fn rules(more: &[(&'static str, &'static str)]) -> Result<Rules, Refusal> {
        Rules::read(DOCUMENTS.iter().chain(more).copied())
    }

    fn asks(user: Option<&str>, kind: TaskType, target: &str) -> Question {
        Question { user: user.map(str::to_owned), kind, target: serde_json::from_str(target).unwrap() }
    }

    #[test]
    fn what_no_policy_allows_is_denied_and_a_denial_beats_all() {
        let rules = rules(&[("user.bob", r#"{"roles":["careful"]}"#)]).unwrap();
        let check = |user, kind, target| rules.check(&asks(user, kind, target)).is_ok();
        let web = r#"{"type":"group","id":"web"}"#;
        assert!(check(Some("ada"), TaskType::AgentUpgrade, web));
        assert!(check(Some("ada"), TaskType::AgentDeletion, r#"{"type":"agent","id":"007"}"#));
        assert!(!check(Some("ada"), TaskType::AgentDeletion, r#"{"type":"agent","id":["007","008"]}"#));
        assert!(!check(Some("ada"), TaskType::AgentUpgrade, r#"{"type":"all"}"#));
        assert!(!check(Some("ada"), TaskType::GroupConfiguration, web));
        assert!(!check(Some("eve"), TaskType::AgentUpgrade, web) && !check(None, TaskType::AgentUpgrade, web));
        assert!(check(Some("bob"), TaskType::RbacChange, "null"));
        assert!(!check(Some("bob"), TaskType::AgentUpgrade, web));
        assert!(Rules::default().check(&asks(None, TaskType::AgentDeletion, web)).is_ok(), "nobody has set it up");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        for (key, text) in [
            ("policy.bad", r#"{"actions":["agent"],"resources":["*:*:*"],"effect":"allow"}"#),
            ("policy.bad", r#"{"actions":["agent:read"],"resources":["all"],"effect":"allow"}"#),
            ("policy.bad", r#"{"actions":[],"resources":[],"effect":"perhaps"}"#),
            ("role.bad", r#"{"policies":["none"]}"#),
            ("user.bad", r#"{"roles":["none"]}"#),
            ("user.bad", "{"),
            ("rule.bad", "{}"),
            ("bad", "{}"),
        ] {
            let problems = rules(&[(key, text)]).unwrap_err();
            assert_eq!((problems.len(), problems[0].pointer.as_str()), (1, format!("/{key}").as_str()), "{text}");
        }
    }
}
