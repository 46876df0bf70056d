//! Regular expressions: those of rules, those that wildcards and `windash` become, and what they may cost.
//!
//! The evaluator's own wildcards do not cross the end of a line, so that a line feed in a command line would hide it
//! from a rule, and its `windash` knows neither `/` in the rule nor wildcards. Both are given to it as expressions.

use muster_core::problem::Problem;
use regex_automata::nfa::thompson;
use rsigma_parser::SigmaString;
use rsigma_parser::value::{SpecialChar, StringPart};

/// The memory that one expression may take as an automaton, in bytes.
const MAX_ONE: usize = 1024 * 1024;
/// The memory that all expressions of a ruleset may take as automata, in bytes.
const MAX_ALL: usize = 16 * 1024 * 1024;

/// What `-` and `/` at the beginning of a word stand for under `windash` (Sigma specification, modifiers).
const DASHES: &str = "[-/\u{2013}\u{2014}\u{2015}]";

/// How much memory the expressions of a ruleset may still take.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_ALL)
    }
}

impl Budget {
    /// Takes what `expression` costs. Matching is linear in the event and in this cost.
    ///
    /// # Errors
    /// `pattern` when it is no expression, `pattern-cost` when it is too costly.
    pub(crate) fn take(&mut self, expression: &str) -> Result<(), Problem> {
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
        self.0 = self.0.checked_sub(automaton.memory_usage()).ok_or_else(|| {
            Problem::new("pattern-cost", "", format!("all expressions take more than {MAX_ALL} bytes as automata"))
        })?;
        Ok(())
    }
}

/// Where in a field's value a pattern may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// It is the whole value.
    Whole,
    /// It is somewhere in it.
    Anywhere,
    /// It is the beginning.
    Start,
    /// It is the end.
    End,
}

/// The expression for a pattern with wildcards; with `windash` also for the dashes in it. It is to be read with
/// `.` matching the end of a line too. `None` when the pattern is a plain text.
pub(crate) fn expression(pattern: &SigmaString, anchor: Anchor, windash: bool) -> Option<String> {
    let mut body = String::new();
    let mut before = None;
    let mut plain = true;
    let mut parts = pattern.parts.iter().peekable();
    while let Some(part) = parts.next() {
        match part {
            StringPart::Plain(text) => {
                let after = parts.peek().map(|_| ' ');
                plain &= !literal(&mut body, text, windash, (before, after));
                before = text.chars().last();
            }
            StringPart::Special(special) => {
                body.push_str(if *special == SpecialChar::WildcardMulti { ".*" } else { "." });
                plain = false;
                before = Some(' ');
            }
        }
    }
    let start = if matches!(anchor, Anchor::Whole | Anchor::Start) { r"\A" } else { "" };
    let end = if matches!(anchor, Anchor::Whole | Anchor::End) { r"\z" } else { "" };
    (!plain).then(|| format!("{start}{body}{end}"))
}

/// Appends `text`, whose neighbours are given; whether it has a dash that stands for all of them. As pySigma's
/// `\B[-/]\b` has it, that is one at the beginning of a word: not after a word's character, and before one.
fn literal(body: &mut String, text: &str, windash: bool, (before, after): (Option<char>, Option<char>)) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut found = false;
    let mut last = before;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().or(after);
        if windash && matches!(c, '-' | '/') && !word(last) && word(next) {
            body.push_str(DASHES);
            found = true;
        } else {
            escape(body, c);
        }
        last = Some(c);
    }
    found
}

/// Appends a character that stands for itself.
fn escape(body: &mut String, c: char) {
    if c.is_ascii_punctuation() && c != '_' && c != '<' && c != '>' {
        body.push('\\');
    }
    body.push(c);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(pattern: &str, anchor: Anchor, windash: bool) -> Option<String> {
        expression(&SigmaString::new(pattern), anchor, windash)
    }

    #[test]
    fn expressions() {
        assert_eq!(of("plain - text", Anchor::Whole, false), None);
        assert_eq!(of(r"a\*b", Anchor::Whole, false), None, "an escaped wildcard");
        assert_eq!(of("a.b*c?", Anchor::Whole, false).unwrap(), r"\Aa\.b.*c.\z");
        assert_eq!(of("a*", Anchor::Anywhere, false).unwrap(), "a.*");
        assert_eq!(of("a*b", Anchor::Start, false).unwrap(), r"\Aa.*b");
        assert_eq!(of("a*b", Anchor::End, false).unwrap(), r"a.*b\z");
    }

    #[test]
    fn dashes_at_the_beginning_of_words() {
        let dashes = |pattern: &str| of(pattern, Anchor::Anywhere, true).map_or(0, |e| e.matches(DASHES).count());
        for (pattern, count) in
            [(" -f", 1), ("/f", 1), ("--f", 1), ("a-b", 0), (" - ", 0), ("-", 0), ("-a /b", 2), ("?-x", 1), ("-*", 0)]
        {
            assert_eq!(dashes(pattern), count, "{pattern}");
        }
    }

    #[test]
    fn each_character_stands_for_itself() {
        for c in (0..=0x2fff).filter_map(char::from_u32) {
            let mut escaped = String::new();
            escape(&mut escaped, c);
            let parsed = |text: &str| format!("{:?}", regex_automata::util::syntax::parse(text).unwrap());
            assert_eq!(parsed(&escaped), parsed(&format!("\\x{{{:x}}}", u32::from(c))), "{c:?}");
        }
    }

    #[test]
    fn what_is_too_costly_is_refused() {
        let mut budget = Budget::default();
        assert_eq!(budget.take("a(?=b)").unwrap_err().code, "pattern");
        assert_eq!(budget.take("(").unwrap_err().code, "pattern");
        assert_eq!(budget.take(r"\w{100}").unwrap_err().code, "pattern-cost");
        assert_eq!(budget.take("((a{1000}){1000}){1000}").unwrap_err().code, "pattern-cost");
        let taken = (0..10_000).take_while(|_| budget.take(r"\w{20}").is_ok()).count();
        assert!((1..10_000).contains(&taken), "{taken}");
        assert_eq!(budget.take(r"\w{20}").unwrap_err().code, "pattern-cost");
    }
}
