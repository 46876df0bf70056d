//! An expression in the dialect of its policy.

use pcre2::bytes::{Captures, Regex, RegexBuilder};
use serde::Deserialize;

use crate::osregex::OsRegex;

/// Steps that PCRE2 may take from one place of a line, and the memory for them in KiB. What needs more is not known.
const PCRE2_LIMITS: &str = "(*LIMIT_MATCH=250000)(*LIMIT_HEAP=16384)";

/// The language of a policy's expressions: `regex_type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    #[default]
    OsRegex,
    Pcre2,
}

#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    OsRegex(OsRegex),
    Pcre2(Regex),
}

impl Pattern {
    /// # Errors
    /// Why the text is no expression of the dialect.
    pub(crate) fn compile(text: &str, dialect: Dialect) -> Result<Self, String> {
        match dialect {
            Dialect::OsRegex => OsRegex::parse(text).map(Self::OsRegex),
            Dialect::Pcre2 => {
                RegexBuilder::new().build(&format!("{PCRE2_LIMITS}{text}")).map(Self::Pcre2).map_err(|error| {
                    let at = error.offset().unwrap_or_default().saturating_sub(PCRE2_LIMITS.len());
                    format!("{} at byte {at}", message(&error))
                })
            }
        }
    }

    /// One to match with. What it needs for that is freed with it: a used PCRE2 expression would keep 20 KiB.
    pub(crate) fn matcher(&self) -> Self {
        self.clone()
    }

    /// Whether it matches somewhere in `line`.
    ///
    /// # Errors
    /// Why this could not be found out.
    pub(crate) fn is_match(&self, line: &[u8]) -> Result<bool, String> {
        match self {
            Self::OsRegex(regex) => Ok(regex.is_match(line)),
            Self::Pcre2(regex) => regex.is_match(line).map_err(|error| message(&error)),
        }
    }

    /// What the first group captures, or all of the match when there is no group; `Some(None)` when the match leaves the
    /// group out.
    ///
    /// # Errors
    /// As [`Self::is_match`].
    pub(crate) fn capture<'t>(&self, line: &'t [u8]) -> Result<Option<Option<&'t [u8]>>, String> {
        match self {
            Self::OsRegex(regex) => Ok(regex.capture(line).map(Some)),
            Self::Pcre2(regex) => {
                // Most lines do not match, and this is cheaper.
                if !self.is_match(line)? {
                    return Ok(None);
                }
                let group = usize::from(regex.captures_len() > 1);
                let captures = regex.captures(line).map_err(|error| message(&error))?;
                let captured = |captures: Captures<'_>| captures.get(group).map(|found| found.start()..found.end());
                Ok(captures.map(|captures| captured(captures).and_then(|range| line.get(range))))
            }
        }
    }
}

/// What the library says, without its introductions.
fn message(error: &pcre2::Error) -> String {
    let text = error.to_string();
    text.splitn(3, ": ").last().unwrap_or_default().to_owned()
}
