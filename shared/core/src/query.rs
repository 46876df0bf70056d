//! Queries over agents: `version < 5.0 and (os = linux or name ~ "web-*") and not group = db`.
//!
//! Fields: `id`, `name`, `group`, `version`, `os`, `label.<name>`, and `unseen`: for how long the agent was not heard of
//! (`unseen > 30d`; who was never heard counts from its enrolment). Operators: `=`, `!=`, `<`, `<=`, `>`, `>=`
//! (versions as versions, anything else as text) and `~` (a pattern in which `*` stands for any characters).
//! `not` binds closer than `and`, `and` closer than `or`. A field that an agent does not have equals nothing.

use std::cmp::Ordering;

use crate::configuration::duration;
use crate::instant::Instant;
use crate::record::{Agent, Reported, agent_id};
use crate::version;

/// The longest query, in bytes.
const MAX_QUERY: usize = 4096;
/// At most this deep may parentheses and `not` be nested.
const MAX_DEPTH: usize = 32;

/// A parsed query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// One of these holds.
    Or(Vec<Query>),
    /// All of these hold.
    And(Vec<Query>),
    /// This does not hold.
    Not(Box<Query>),
    /// A field compared with a value.
    Test(Field, Op, String),
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Field {
    Id,
    Name,
    Group,
    Version,
    Os,
    Label(String),
    Unseen,
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// Says what was expected and at which byte.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_QUERY {
            return Err(format!("a query has at most {MAX_QUERY} bytes"));
        }
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
        let query = parser.or()?;
        match parser.peek() {
            None => Ok(query),
            Some(_) => Err(parser.expected("'and', 'or' or the end")),
        }
    }

    /// Whether it holds for an agent now.
    pub fn matches(&self, agent: &Agent, reported: &Reported, now: Instant) -> bool {
        match self {
            Self::Or(parts) => parts.iter().any(|q| q.matches(agent, reported, now)),
            Self::And(parts) => parts.iter().all(|q| q.matches(agent, reported, now)),
            Self::Not(query) => !query.matches(agent, reported, now),
            Self::Test(Field::Group, Op::Unequal, value) => !agent.groups.contains(value),
            Self::Test(Field::Unseen, op, value) => {
                let unseen = now.since(reported.seen.unwrap_or(agent.enrolled));
                duration(value).is_some_and(|limit| compared(*op, unseen.cmp(&limit)))
            }
            Self::Test(Field::Group, op, value) => {
                agent.groups.iter().any(|group| holds(&Field::Group, *op, group, value))
            }
            Self::Test(field, op, value) => {
                let id = agent_id(agent.number);
                let own = match field {
                    Field::Id => Some(id.as_str()),
                    Field::Name => Some(agent.name.as_str()),
                    Field::Version => Some(reported.version.as_str()).filter(|v| !v.is_empty()),
                    Field::Os => Some(reported.os.as_str()).filter(|os| !os.is_empty()),
                    Field::Label(name) => reported.labels.get(name).map(String::as_str),
                    Field::Group | Field::Unseen => None,
                };
                own.map_or(*op == Op::Unequal, |own| holds(field, *op, own, value))
            }
        }
    }

    /// Whether it looks at what agents report of themselves.
    pub fn reads_reports(&self) -> bool {
        match self {
            Self::Or(parts) | Self::And(parts) => parts.iter().any(Self::reads_reports),
            Self::Not(query) => query.reads_reports(),
            Self::Test(field, ..) => matches!(field, Field::Version | Field::Os | Field::Label(_) | Field::Unseen),
        }
    }
}

fn holds(field: &Field, op: Op, own: &str, value: &str) -> bool {
    if op == Op::Like {
        return like(own, value);
    }
    let order = if *field == Field::Version { version::compare(own, value) } else { own.cmp(value) };
    compared(op, order)
}

fn compared(op: Op, order: Ordering) -> bool {
    match op {
        Op::Equal => order == Ordering::Equal,
        Op::Unequal => order != Ordering::Equal,
        Op::Less => order == Ordering::Less,
        Op::LessOrEqual => order != Ordering::Greater,
        Op::Greater => order == Ordering::Greater,
        Op::GreaterOrEqual => order != Ordering::Less,
        Op::Like => false,
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any characters; in time proportional to both lengths.
fn like(text: &str, pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return text == pattern };
    let Some(rest) = text.strip_prefix(first) else { return false };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Op(Op),
    Open,
    Close,
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(out) };
        const OPS: [(&str, Op); 7] = [
            ("!=", Op::Unequal),
            ("<=", Op::LessOrEqual),
            (">=", Op::GreaterOrEqual),
            ("=", Op::Equal),
            ("<", Op::Less),
            (">", Op::Greater),
            ("~", Op::Like),
        ];
        let (token, length) = if let Some((sign, op)) = OPS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            (Token::Op(*op), sign.len())
        } else if first == '(' {
            (Token::Open, 1)
        } else if first == ')' {
            (Token::Close, 1)
        } else if first == '"' {
            let end = rest[1..].find('"').ok_or_else(|| format!("the quote at byte {at} does not end"))?;
            (Token::Text(rest[1..=end].to_owned()), end + 2)
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "()=!<>~\"".contains(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("'{first}' at byte {at} is not understood"));
            }
            (Token::Word(rest[..end].to_owned()), end)
        };
        out.push((at, token));
        rest = &rest[length..];
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn word(&mut self, word: &str) -> bool {
        let here = matches!(self.peek(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word));
        self.at += usize::from(here);
        here
    }

    fn expected(&self, what: &str) -> String {
        match self.tokens.get(self.at) {
            Some((at, _)) => format!("{what} is expected at byte {at}"),
            None => format!("{what} is expected at the end"),
        }
    }

    fn or(&mut self) -> Result<Query, String> {
        let mut parts = vec![self.and()?];
        while self.word("or") {
            parts.push(self.and()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Query::Or(parts) })
    }

    fn and(&mut self) -> Result<Query, String> {
        let mut parts = vec![self.not()?];
        while self.word("and") {
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Query::And(parts) })
    }

    fn not(&mut self) -> Result<Query, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("a query is nested at most {MAX_DEPTH} deep"));
        }
        let query = if self.word("not") {
            Query::Not(Box::new(self.not()?))
        } else if self.peek() == Some(&Token::Open) {
            self.at += 1;
            let inner = self.or()?;
            if self.peek() != Some(&Token::Close) {
                return Err(self.expected("')'"));
            }
            self.at += 1;
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(query)
    }

    fn test(&mut self) -> Result<Query, String> {
        const FIELDS: &str = "a field (id, name, group, version, os, label.<name>, unseen)";
        let Some(Token::Word(word)) = self.peek() else { return Err(self.expected(FIELDS)) };
        let field = match word.as_str() {
            "id" => Field::Id,
            "name" => Field::Name,
            "group" => Field::Group,
            "unseen" => Field::Unseen,
            "version" => Field::Version,
            "os" => Field::Os,
            other => match other.strip_prefix("label.").filter(|name| !name.is_empty()) {
                Some(name) => Field::Label(name.to_owned()),
                None => return Err(self.expected(FIELDS)),
            },
        };
        self.at += 1;
        let Some(Token::Op(op)) = self.peek().cloned() else { return Err(self.expected("an operator")) };
        self.at += 1;
        let value = match self.peek() {
            Some(Token::Word(value) | Token::Text(value)) => value.clone(),
            _ => return Err(self.expected("a value")),
        };
        if field == Field::Unseen && (op == Op::Like || duration(&value).is_none()) {
            return Err(self.expected("a comparison with a duration such as 30d"));
        }
        self.at += 1;
        Ok(Query::Test(field, op, value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::stamp::Stamp;
    use proptest::prelude::*;

    fn holds(query: &str) -> bool {
        let agent = Agent {
            number: 7,
            name: "web-7".into(),
            groups: vec!["default".into(), "web".into()],
            version: Stamp::default(),
            lanes: Default::default(),
            nkey: String::new(),
            enrolled: Instant(0),
            gone: false,
        };
        let labels = [("site".to_owned(), "Paris 2".to_owned())].into();
        let reported = Reported { version: "v4.14.10".into(), os: "linux".into(), labels, ..Reported::default() };
        Query::parse(query).unwrap().matches(&agent, &reported, Instant(90_000_000))
    }

    #[test]
    fn what_holds() {
        for yes in [
            "version < 5.0 and (os = linux or name ~ \"db-*\") and not group = db",
            "id=007",
            "group != db",
            "label.site = \"Paris 2\"",
            "label.site ~ P*s*",
            "version >= 4.14.3",
            "label.none != x",
            "os=windows or name~*-7",
            "NOT NOT group ~ we*",
            "unseen > 24h and unseen < 2d and unseen >= 25h",
        ] {
            assert!(holds(yes), "{yes}");
        }
        for no in [
            "version < 4.14.9",
            "os = windows",
            "unseen > 2d",
            "group != web",
            "label.none = x",
            "not id = 007",
            "name ~ *-8",
            "name ~ web-7x*",
            "os = windows or os = linux and id = 1",
        ] {
            assert!(!holds(no), "{no}");
        }
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for bad in [
            "",
            "os",
            "os =",
            "os linux",
            "hostname = x",
            "label. = x",
            "(os = linux",
            "os = linux)",
            "os = \"x",
            "os = a b = c",
            "! os = a",
        ] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        assert!(Query::parse(&"(".repeat(4000)).unwrap_err().contains("nested"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "[a-z()=!<>~\" *é]{0,40}") {
            let _ = Query::parse(&text);
        }

        #[test]
        fn a_pattern_of_its_parts_fits(a in "[a-c]{0,4}", b in "[a-c]{0,4}", c in "[a-c]{0,4}") {
            let (text, pattern) = (format!("{a}{b}{c}"), format!("{a}*{c}"));
            prop_assert!(like(&text, &pattern));
        }
    }
}
