//! A ruleset: all rules of a body, or the reasons why it is refused.

use std::collections::BTreeMap;

use muster_core::configuration::yaml::{self, Node};
use muster_core::names::digest;
use muster_core::problem::{Problem, Refusal};
use rsigma_eval::CompiledRule;
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::event::{Event, View};
use crate::files;
use crate::rule::{Level, Rule};

/// The most documents, and so rules, of a file.
pub const MAX_DOCUMENTS: usize = 256;
/// At most this many problems are named for one ruleset.
pub const MAX_PROBLEMS: usize = 100;
/// A message is cut beyond this many bytes: what it quotes is the author's.
const MAX_MESSAGE: usize = 400;

/// A rule that an event matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The rule's id, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The rule's title.
    pub title: String,
    /// The rule's level, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The file of the ruleset that the rule is in.
    pub file: String,
    /// The rule's tags, such as `attack.t1059`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// Rules that can judge events. The default holds none.
#[derive(Default)]
pub struct Ruleset {
    evaluator: rsigma_eval::Engine,
    /// What is said of the rule that the evaluator knows by its place here.
    rules: Vec<Match>,
    files: usize,
    digest: String,
}

impl Ruleset {
    /// Loads a body: a JSON object of file names and texts, each a stream of YAML documents with one rule each. It is
    /// taken whole or refused. An object without files is the empty ruleset.
    ///
    /// # Errors
    /// At most [`MAX_PROBLEMS`] problems. The pointer names the file in the body (`/web~1brute.yml`), the line is that in
    /// the file, the message begins with the place in the document. Codes: `too-large`, `body`, `file-name`,
    /// `duplicate-file` for the body; `yaml`, `schema`, `unsupported`, `field`, `modifier`, `value`, `pattern`,
    /// `pattern-cost`, `too-many-lines`, `condition`, `rule`, `duplicate-id` for rules.
    pub fn load(body: &[u8]) -> Result<Self, Refusal> {
        let files = files::read(body)?;
        let mut loading = Loading::default();
        for (name, text) in &files {
            loading.file(name, text);
        }
        if !loading.problems.is_empty() {
            return Err(loading.problems);
        }
        let mut evaluator = rsigma_eval::Engine::new();
        evaluator.extend_compiled_rules(loading.compiled);
        Ok(Self { evaluator, rules: loading.rules, files: files.len(), digest: digest(body) })
    }

    /// The rules that the event matches, in the order of the body.
    pub fn matches(&self, event: &Event) -> Vec<Match> {
        let found = self.evaluator.evaluate_pruned(&View::new(event), &event.logsource);
        let mut places: Vec<usize> = found.iter().filter_map(|r| r.header.rule_id.as_ref()?.parse().ok()).collect();
        // The evaluator promises no order.
        places.sort_unstable();
        places.into_iter().filter_map(|place| self.rules.get(place)).cloned().collect()
    }

    /// How many rules there are.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// How many files they are in.
    pub fn files(&self) -> usize {
        self.files
    }

    /// The SHA-256 of the body, in lower-case hex; empty for the default ruleset.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl std::fmt::Debug for Ruleset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ruleset")
            .field("rules", &self.rules.len())
            .field("files", &self.files)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Loading {
    budget: Budget,
    compiled: Vec<CompiledRule>,
    rules: Vec<Match>,
    /// The file that has a rule with this id.
    ids: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl Loading {
    fn file(&mut self, name: &str, text: &str) {
        match yaml::read_all(text, MAX_DOCUMENTS) {
            Err(problem) => self.refuse(name, problem.line, problem),
            Ok(documents) if documents.is_empty() => {
                self.refuse(name, None, Problem::new("schema", "", "there is no rule in the file"));
            }
            Ok(documents) => documents.iter().for_each(|document| self.document(name, document)),
        }
    }

    fn document(&mut self, file: &str, document: &Node) {
        let refuse = |loading: &mut Self, problem: Problem| {
            let line = document.line(&problem.pointer);
            loading.refuse(file, Some(line), problem);
        };
        let rule = match Rule::read(document.value()) {
            Ok(rule) => rule,
            Err(problems) => return problems.into_iter().for_each(|problem| refuse(self, problem)),
        };
        // Ids are UUIDs as a rule, which may be written in capitals.
        if let Some(id) = rule.id.as_ref().map(|id| id.to_lowercase())
            && let Some(other) = self.ids.insert(id, file.to_owned())
        {
            refuse(self, Problem::new("duplicate-id", "/id", format!("a rule in {other} has this id too")));
        }
        match rule.compile(self.rules.len(), &mut self.budget) {
            Err(problem) => refuse(self, problem),
            Ok(compiled) => {
                self.compiled.push(compiled);
                let Rule { title, id, level, tags, .. } = rule;
                self.rules.push(Match { id, title, level, file: file.to_owned(), tags });
            }
        }
    }

    /// The problem as one of the body.
    fn refuse(&mut self, file: &str, line: Option<u32>, problem: Problem) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let place = if problem.pointer.is_empty() { String::new() } else { format!("{}: ", cut(problem.pointer)) };
        let message = cut(format!("{place}{}", problem.message));
        self.problems.push(Problem { pointer: files::pointer(file), message, line, ..problem });
    }
}

/// The text, or its beginning when it is long.
fn cut(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE - 3));
        text.push_str("...");
    }
    text
}
