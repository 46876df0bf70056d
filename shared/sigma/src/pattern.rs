//! The regular expressions that wildcards and `windash` become.
//!
//! The evaluator's own wildcards do not cross the end of a line, so that a line feed in a command line would hide it
//! from a rule, and its `windash` knows neither `/` in the rule nor wildcards. Both are given to it as expressions.

use rsigma_parser::SigmaString;
use rsigma_parser::value::{SpecialChar, StringPart};

/// What `-` and `/` at the beginning of a word stand for under `windash` (Sigma specification, modifiers).
const DASHES: &str = "[-/\u{2013}\u{2014}\u{2015}]";

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
}
