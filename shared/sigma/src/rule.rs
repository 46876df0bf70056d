//! One rule: a YAML document, checked, with what the evaluator makes of it.

use std::collections::HashMap;
use std::sync::LazyLock;

use muster_core::problem::Problem;
use muster_core::schema::Schema;
use rsigma_eval::{CompiledRule, compile_rule};
use rsigma_parser::{LogSource, SigmaRule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::budget::Budget;
use crate::detection;

static SCHEMA: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| Schema::compile(include_str!("../rule.schema.json")));

/// Documents that are no rules for single events, and what to say of them.
const UNSUPPORTED: [(&str, &str); 3] = [
    ("correlation", "rules judge each event alone: correlations are not supported"),
    ("filter", "filters of other rules are not supported: write the exception into the rule"),
    ("action", "collections by 'action' are not supported: write each rule in full"),
];

/// How much a match matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the specification's")]
pub enum Level {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// What is read of a rule. The schema says the same and more.
#[derive(Debug, Deserialize)]
pub(crate) struct Rule {
    pub(crate) title: String,
    pub(crate) id: Option<String>,
    pub(crate) level: Option<Level>,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    logsource: LogSource,
    detection: Map<String, Value>,
}

impl Rule {
    /// Checks a document.
    ///
    /// # Errors
    /// `unsupported` or `schema`, with the pointers into the document.
    pub(crate) fn read(document: Value) -> Result<Self, Vec<Problem>> {
        if let Some((key, why)) = UNSUPPORTED.iter().find(|(key, _)| document.get(key).is_some()) {
            return Err(vec![Problem::new("unsupported", format!("/{key}"), *why)]);
        }
        let schema = SCHEMA.as_ref().map_err(|error| vec![Problem::new("internal", "", error)])?;
        let problems = schema.problems(&document);
        if !problems.is_empty() {
            return Err(problems);
        }
        serde_json::from_value(document).map_err(|error| vec![Problem::new("schema", "", error.to_string())])
    }

    /// What the evaluator makes of it, known to it by `number`.
    ///
    /// # Errors
    /// The first thing that is malformed or not supported.
    pub(crate) fn compile(&self, number: usize, budget: &mut Budget) -> Result<CompiledRule, Problem> {
        let detection = detection::read(&self.detection, budget).map_err(|problem| problem.under("/detection"))?;
        let rule = SigmaRule {
            title: self.title.clone(),
            logsource: self.logsource.clone(),
            detection,
            id: Some(number.to_string()),
            sigma_version: None,
            name: None,
            related: Vec::new(),
            taxonomy: None,
            status: None,
            description: None,
            license: None,
            author: None,
            references: Vec::new(),
            date: None,
            modified: None,
            fields: Vec::new(),
            falsepositives: Vec::new(),
            level: None,
            tags: Vec::new(),
            scope: Vec::new(),
            custom_attributes: HashMap::new(),
        };
        compile_rule(&rule).map_err(|error| Problem::new("rule", "/detection", error.to_string()))
    }
}
