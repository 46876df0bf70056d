//! What must be found in a text: terms joined with `&&`, which one line has to satisfy together.

mod number;

use self::number::Comparison;
use crate::pattern::{Dialect, Pattern};
use crate::rule::{Fault, malformed};
use crate::system::Text;
use crate::verdict::Verdict;

/// The longest line, in bytes, that is looked at.
const MAX_LINE: usize = 64 * 1024;

/// Terms; at least one.
#[derive(Debug, Clone)]
pub(crate) struct Content(Vec<Term>);

#[derive(Debug, Clone)]
struct Term {
    negated: bool,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    /// The whole line, without regard to ASCII case.
    Literal(String),
    /// `r:`
    Match(Pattern),
    /// `n:`
    Number(Pattern, Comparison),
}

impl Content {
    pub(crate) fn parse(text: &str, dialect: Dialect) -> Result<Self, Fault> {
        text.split(" && ").map(|term| Term::parse(without_indent(term), dialect)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a line of `text` satisfies all terms; with a single term that is negated, whether no line does what it
    /// denies. What was not read of the text can only take certainty away. `stop` says why it is given up, when it is.
    pub(crate) fn in_text(&self, text: &Text, stop: &dyn Fn() -> Option<&'static str>) -> Verdict {
        let lines = whole_lines(text).into_iter().flat_map(|bytes| bytes.split(|byte| *byte == b'\n'));
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let rest = (!text.whole).then(|| Verdict::Unknown("it is longer than what is read of it".into()));
        self.in_lines(lines, rest, stop)
    }

    /// The same of a single line, such as the name of a file.
    pub(crate) fn in_line(&self, line: &[u8]) -> Verdict {
        self.in_lines([line].into_iter(), None, &|| None)
    }

    fn in_lines<'t>(
        &self,
        lines: impl Iterator<Item = &'t [u8]>,
        rest: Option<Verdict>,
        stop: &dyn Fn() -> Option<&'static str>,
    ) -> Verdict {
        let terms: Vec<_> = self.0.iter().map(Term::ready).collect();
        if let [Term { negated: true, test }] = terms.as_slice() {
            return !Verdict::any(lines.map(|line| judge(line, stop, |line| test.holds(line))).chain(rest));
        }
        let all = |line: &[u8]| Verdict::all(terms.iter().map(|term| term.holds(line)));
        Verdict::any(lines.map(|line| judge(line, stop, all)).chain(rest))
    }
}

/// The lines that are there in full, without the end of the last one; none of an empty text.
fn whole_lines(text: &Text) -> Option<&[u8]> {
    let end = match text.bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(last) if !text.whole || last + 1 == text.bytes.len() => last,
        Some(_) => text.bytes.len(),
        None if text.whole && !text.bytes.is_empty() => text.bytes.len(),
        None => return None,
    };
    text.bytes.get(..end)
}

/// What `test` says of a line that may be looked at.
fn judge(line: &[u8], stop: &dyn Fn() -> Option<&'static str>, test: impl Fn(&[u8]) -> Verdict) -> Verdict {
    if line.len() > MAX_LINE {
        return Verdict::Unknown(format!("a line has more than {MAX_LINE} bytes"));
    }
    stop().map_or_else(|| test(line), |why| Verdict::Unknown(why.into()))
}

impl Term {
    fn parse(text: &str, dialect: Dialect) -> Result<Self, Fault> {
        if text
            .match_indices("&&")
            .any(|(at, joint)| begins_with_expression(text.get(at + joint.len()..).unwrap_or_default().trim_start()))
        {
            return malformed("'&&' needs a space on each side");
        }
        let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let compile = |pattern: &str| match pattern {
            "" => malformed("an expression is missing"),
            pattern => Pattern::compile(pattern, dialect).map_err(|why| {
                Fault::Uncompilable(format!("the expression '{}' does not compile: {why}", brief(pattern)))
            }),
        };
        let test = match (text.get(..2), text.get(2..)) {
            (Some("r:" | "R:"), Some(pattern)) => Test::Match(compile(pattern)?),
            (Some("n:" | "N:"), Some(rest)) => {
                let (pattern, comparison) = Comparison::split(rest)?;
                Test::Number(compile(pattern)?, comparison)
            }
            _ if text.is_empty() || text.starts_with("->") => {
                return malformed("a term between '->' and '&&' is missing");
            }
            _ => Test::Literal(text.to_owned()),
        };
        Ok(Self { negated, test })
    }

    fn ready(&self) -> Self {
        let test = match &self.test {
            Test::Literal(text) => Test::Literal(text.clone()),
            Test::Match(pattern) => Test::Match(pattern.matcher()),
            Test::Number(pattern, comparison) => Test::Number(pattern.matcher(), *comparison),
        };
        Self { negated: self.negated, test }
    }

    fn holds(&self, line: &[u8]) -> Verdict {
        let holds = self.test.holds(line);
        if self.negated { !holds } else { holds }
    }
}

impl Test {
    fn holds(&self, line: &[u8]) -> Verdict {
        match self {
            Self::Literal(text) => text.as_bytes().eq_ignore_ascii_case(line).into(),
            Self::Match(pattern) => pattern.is_match(line).map_or_else(Verdict::Unknown, Verdict::from),
            Self::Number(pattern, comparison) => match pattern.capture(line) {
                Ok(None) => Verdict::Fails,
                Ok(Some(captured)) => comparison.holds(captured.unwrap_or_default()),
                Err(why) => Verdict::Unknown(why),
            },
        }
    }
}

/// Whether a term begins that is not a literal.
fn begins_with_expression(text: &str) -> bool {
    let text = text.strip_prefix('!').unwrap_or(text);
    text.get(..2).is_some_and(|start| matches!(start, "r:" | "R:" | "n:" | "N:"))
}

/// A term without the spaces before its `r:` or `n:`. With them it would be a literal that no line is, and `!` before it
/// would always hold.
fn without_indent(term: &str) -> &str {
    let trimmed = term.trim_start();
    if begins_with_expression(trimmed) { trimmed } else { term }
}

/// The beginning of a text, for a message.
pub(crate) fn brief(text: &str) -> String {
    let end = text.floor_char_boundary(80);
    let more = if end < text.len() { "..." } else { "" };
    format!("{}{more}", text.get(..end).unwrap_or_default())
}
