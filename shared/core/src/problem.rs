//! What is wrong with an input: a code, where, why, and what to do.

use serde::{Deserialize, Serialize};

/// One reason for a refusal. `code` is for programs and never changes its meaning; `message` is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable word, such as `schema`, `unknown-group`, `too-many-groups`.
    pub code: String,
    /// The JSON pointer (RFC 6901) into the task, `""` for the whole.
    pub pointer: String,
    /// Why it is refused.
    pub message: String,
    /// The line, counted from 1, when the place is inside a text such as a YAML content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at `pointer`.
    pub fn new(code: &str, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), pointer: pointer.into(), message: message.into(), line: None, hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same for a document that lies at `pointer` of a larger one.
    #[must_use]
    pub fn under(mut self, pointer: &str) -> Self {
        self.pointer.insert_str(0, pointer);
        self
    }

    /// The same with a line.
    #[must_use]
    pub fn line(mut self, line: u32) -> Self {
        self.line = Some(line);
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", if self.pointer.is_empty() { "/" } else { &self.pointer })?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        write!(f, ": {} ({})", self.message, self.code)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// Why a task is refused: at least one problem. A refusal is final: the same task would be refused again.
pub type Refusal = Vec<Problem>;

/// A refusal for a single reason.
pub fn refuse<T>(code: &str, pointer: impl Into<String>, message: impl Into<String>) -> Result<T, Refusal> {
    Err(vec![Problem::new(code, pointer, message)])
}

/// Problems of a document as those of the larger one in which it lies at `pointer`.
pub fn under(problems: Vec<Problem>, pointer: &str) -> Refusal {
    problems.into_iter().map(|problem| problem.under(pointer)).collect()
}

/// Problems in one line.
pub fn in_words(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
