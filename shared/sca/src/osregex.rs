//! OSRegex, the small dialect of expressions of Wazuh 4.x and OSSEC, matched in linear time.
//!
//! | | |
//! |---|---|
//! | `\d` `\D` | a digit; none |
//! | `\w` `\W` | a letter, a digit, `-`, `@`, `_`; none of them |
//! | `\s` `\S` | a space (nothing else); none |
//! | `\p` | one of ``!"#$%&'()*+,-.:;<=>?[]{\|}`` |
//! | `\.` | any character |
//! | `\t` | a tab |
//! | `\(` `\)` `\\` `\$` `\|` `\<` | the character itself |
//! | `+` `*` | after one of those above: once or more, any number of times. Elsewhere they are themselves |
//! | `^` `$` | at the start and at the end of an alternative: the start and the end of the text. Elsewhere they are themselves |
//! | `\|` | separates alternatives |
//! | `(` `)` | what is captured; not nested, without alternatives inside |
//!
//! Everything else is itself, also `.` and `[`. Letters are compared without regard to ASCII case, a character is a byte.
//! An alternative without anything to match (`a||b`, `^$`) never matches, as in Wazuh. What Wazuh's matcher misses, for it
//! steps back at most some times, is found here: the expression means what it says.
//!
//! Sources: the documentation of OSSEC and Wazuh ("Regular expression syntax"), `src/os_regex` of Wazuh 4.x (behaviour).

mod parse;
mod run;

/// The longest expression, in bytes, as in Wazuh.
pub(crate) const MAX_BYTES: usize = 2048;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsRegex {
    alternatives: Vec<Sequence>,
}

/// Steps one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sequence {
    steps: Vec<Step>,
    from_start: bool,
    to_end: bool,
    /// The places among the steps where the first group opens and closes; the whole when there is no group.
    group: (usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    class: Class,
    /// Any number of times, instead of once.
    repeated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A byte, a letter in lower case.
    Byte(u8),
    Digit,
    NoDigit,
    Word,
    NoWord,
    Space,
    NoSpace,
    Punctuation,
    Any,
}

impl Class {
    fn has(self, byte: u8) -> bool {
        let word = || byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'@' | b'_');
        match self {
            Self::Byte(own) => own == byte.to_ascii_lowercase(),
            Self::Digit => byte.is_ascii_digit(),
            Self::NoDigit => !byte.is_ascii_digit(),
            Self::Word => word(),
            Self::NoWord => !word(),
            Self::Space => byte == b' ',
            Self::NoSpace => byte != b' ',
            Self::Punctuation => matches!(byte, b'!'..=b'.' | b':'..=b'?' | b'[' | b']' | b'{'..=b'}'),
            Self::Any => true,
        }
    }
}

impl OsRegex {
    /// Reads an expression.
    ///
    /// # Errors
    /// Why it is none, for people: longer than 2048 bytes, an unknown escape, or parentheses that are nested, not closed,
    /// or hold alternatives.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        parse::pattern(pattern)
    }

    /// Whether it matches somewhere in `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.alternatives.iter().any(|sequence| run::is_match(sequence, text))
    }

    /// What the first group captures where the first alternative that matches does so, as much as it can: without a
    /// group, all that is matched.
    pub fn capture<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        self.alternatives.iter().find_map(|sequence| run::capture(sequence, text))
    }
}
