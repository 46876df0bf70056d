//! What the rules of a ruleset may cost when they judge an event.

use muster_core::problem::Problem;
use regex_automata::nfa::thompson;

/// The memory that one expression may take as an automaton, in bytes.
const MAX_ONE: usize = 1024 * 1024;
/// The memory that all expressions of a ruleset may take as automata, in bytes.
const MAX_ALL: usize = 16 * 1024 * 1024;
/// The lines of all detections of a ruleset. The evaluator copies the value of a field for each that asks for it.
const MAX_LINES: usize = 10_000;

/// What is left for the rules that follow.
#[derive(Debug)]
pub(crate) struct Budget {
    memory: usize,
    lines: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { memory: MAX_ALL, lines: MAX_LINES }
    }
}

impl Budget {
    /// Takes a line of a detection.
    ///
    /// # Errors
    /// `too-many-lines`
    pub(crate) fn line(&mut self) -> Result<(), Problem> {
        let message = || format!("the detections of a ruleset have at most {MAX_LINES} lines");
        self.lines = self.lines.checked_sub(1).ok_or_else(|| Problem::new("too-many-lines", "", message()))?;
        Ok(())
    }

    /// Takes what an expression costs: matching is linear in the event and in this.
    ///
    /// # Errors
    /// `pattern` when it is no expression, `pattern-cost` when it is too costly.
    pub(crate) fn expression(&mut self, expression: &str) -> Result<(), Problem> {
        let config = thompson::Config::new().nfa_size_limit(Some(MAX_ONE));
        let automaton = thompson::Compiler::new().configure(config).build(expression).map_err(|error| {
            if error.size_limit().is_some() {
                return Problem::new("pattern-cost", "", format!("it takes more than {MAX_ONE} bytes as an automaton"))
                    .hint("Narrow the classes (\\w is far larger than [A-Za-z0-9_]) or the numbers of repetitions.");
            }
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Problem::new("pattern", "", format!("no regular expression: {why}"))
                .hint("Look-around and references to groups are not supported, so that matching stays linear.")
        })?;
        self.memory = self.memory.checked_sub(automaton.memory_usage()).ok_or_else(|| {
            Problem::new("pattern-cost", "", format!("all expressions take more than {MAX_ALL} bytes as automata"))
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_too_costly_is_refused() {
        let mut budget = Budget::default();
        assert_eq!(budget.expression("a(?=b)").unwrap_err().code, "pattern");
        assert_eq!(budget.expression("(").unwrap_err().code, "pattern");
        assert_eq!(budget.expression(r"\w{100}").unwrap_err().code, "pattern-cost");
        assert_eq!(budget.expression("((a{1000}){1000}){1000}").unwrap_err().code, "pattern-cost");
        let taken = (0..10_000).take_while(|_| budget.expression(r"\w{20}").is_ok()).count();
        assert!((1..10_000).contains(&taken), "{taken}");
        assert_eq!(budget.expression(r"\w{20}").unwrap_err().code, "pattern-cost");
    }

    #[test]
    fn lines_are_counted() {
        let mut budget = Budget::default();
        assert!((0..MAX_LINES).all(|_| budget.line().is_ok()));
        assert_eq!(budget.line().unwrap_err().code, "too-many-lines");
    }
}
