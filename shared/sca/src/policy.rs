//! Policies: what is checked of a text before it is stored or run.

mod document;

use std::collections::BTreeSet;

use muster_core::problem::Problem;
use serde::Deserialize;

use self::document::{Document, Group};
use crate::pattern::Dialect;
use crate::rule::{Fault, Rule, Variables};

/// The longest text of a policy, in bytes.
pub const MAX_BYTES: usize = 512 * 1024;

/// At most this many problems are named for one policy.
pub const MAX_PROBLEMS: usize = 20;

/// A policy that can be run.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its id: one line of at most 128 characters.
    pub id: String,
    /// Its name: one line of at most 512 characters.
    pub name: String,
    /// Its checks; at least one, at most 2,000.
    pub checks: Vec<Check>,
    pub(crate) requirements: Option<Rules>,
}

/// One check of a policy.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its id, which no other check of the policy has.
    pub id: u32,
    /// Its title: one line of at most 512 characters.
    pub title: String,
    pub(crate) rules: Rules,
}

impl Check {
    /// Why it is never applicable: an expression that does not compile.
    pub fn uncompilable(&self) -> Option<&str> {
        self.rules.uncompilable.as_deref()
    }
}

/// Rules and how they decide together.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) condition: Condition,
    pub(crate) rules: Vec<Rule>,
    /// The first rule with an expression that does not compile, and why.
    pub(crate) uncompilable: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Condition {
    /// All hold.
    #[serde(alias = "all required")]
    All,
    /// One holds.
    #[serde(alias = "any required")]
    Any,
    /// None holds.
    None,
}

impl Policy {
    /// Reads the YAML of a policy.
    ///
    /// # Errors
    /// At most [`MAX_PROBLEMS`], with pointer into the document and line: `too-large` beyond [`MAX_BYTES`], `yaml` for what
    /// is not of the subset that [`muster_core::configuration::yaml`] reads, `schema` for what `policy.schema.json` does
    /// not allow, `duplicate-id` for a check whose id another has, and `rule` for a rule that says nothing.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let document = Document::read(text)?;
        let variables = Variables::new(document.content.variables.clone());
        let dialect = document.content.policy.regex_type.unwrap_or_default();
        let mut problems = Vec::new();
        let mut rules = |group: &Group, pointer: &str, whose: &str| {
            let (rules, faults) = read_rules(group, dialect, &variables);
            problems.extend(faults.into_iter().map(|(number, why)| {
                document.problem("rule", format!("{pointer}/rules/{number}"), format!("{whose}: {why}"))
            }));
            rules
        };
        let requirements =
            document.content.requirements.as_ref().map(|group| rules(group, "/requirements", "requirements"));
        let checks = document.content.checks.iter().enumerate().map(|(number, check)| Check {
            id: check.id,
            title: check.title().unwrap_or_default().to_owned(),
            rules: rules(&check.group, &format!("/checks/{number}"), &format!("check {}", check.id)),
        });
        let checks: Vec<_> = checks.collect();
        let untitled = document.content.checks.iter().enumerate().filter(|(_, check)| check.title().is_none());
        problems.extend(untitled.map(|(number, check)| {
            let message = format!("check {}: 'title' is missing, or 'name' as in 5.x", check.id);
            document.problem("schema", format!("/checks/{number}"), message)
        }));
        let mut ids = BTreeSet::new();
        let repeated = checks.iter().enumerate().filter(|(_, check)| !ids.insert(check.id));
        problems.extend(repeated.map(|(number, check)| {
            let message = format!("check {}: another check has this id", check.id);
            document.problem("duplicate-id", format!("/checks/{number}/id"), message)
        }));
        problems.truncate(MAX_PROBLEMS);
        let header = &document.content.policy;
        let policy = Self { id: header.id.clone(), name: header.name.clone(), checks, requirements };
        if problems.is_empty() { Ok(policy) } else { Err(problems) }
    }
}

/// The rules, and the numbers of those that are malformed.
fn read_rules(group: &Group, dialect: Dialect, variables: &Variables) -> (Rules, Vec<(usize, String)>) {
    let dialect = group.regex_type.unwrap_or(dialect);
    let mut read = Rules { condition: group.condition, rules: Vec::new(), uncompilable: None };
    let mut malformed = Vec::new();
    for (number, text) in group.rules.iter().enumerate() {
        match Rule::parse(text, dialect, variables) {
            Ok(rule) => read.rules.push(rule),
            Err(Fault::Malformed(why)) => malformed.push((number, why)),
            Err(Fault::Uncompilable(why)) => {
                read.uncompilable.get_or_insert_with(|| format!("/rules/{number}: {why}"));
            }
        }
    }
    (read, malformed)
}
