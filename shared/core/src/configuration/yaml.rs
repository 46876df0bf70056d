//! YAML as a tree that remembers its lines. A strict subset: one document, string keys without repetition, no anchors,
//! aliases or tags, at most 16 levels, numbers that JSON can hold.
//!
//! It is built from the parser's events, for the usual loaders recurse as deep as the text says, and lose the lines.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr::Scalar;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Number, Value};

use crate::problem::Problem;

/// Levels of maps and lists. The deepest that a configuration needs is five.
const MAX_DEPTH: usize = 16;

/// A value and the line, counted from 1, on which it (or its key) begins.
#[derive(Debug)]
pub struct Node {
    line: u32,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    /// The same as JSON.
    pub fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::value).collect(),
            Content::Map(entries) => entries.iter().map(|(key, node)| (key.clone(), node.value())).collect(),
        }
    }

    /// The line of what a JSON pointer points to, or of the deepest of its parents that is there.
    pub fn line(&self, pointer: &str) -> u32 {
        let mut node = self;
        for token in pointer.split('/').skip(1) {
            let child = match &node.content {
                Content::Scalar(_) => None,
                Content::List(items) => token.parse().ok().and_then(|at: usize| items.get(at)),
                Content::Map(entries) => entries.get(&token.replace("~1", "/").replace("~0", "~")),
            };
            match child {
                Some(child) => node = child,
                None => break,
            }
        }
        node.line
    }
}

/// Reads a text; `None` when it holds no document, or an empty one.
///
/// # Errors
/// The first thing that is no YAML or not of the subset, with its line.
pub fn read(text: &str) -> Result<Option<Node>, Problem> {
    Reader { parser: Parser::new_from_str(text), path: Vec::new() }.document()
}

/// `token` as a part of a JSON pointer (RFC 6901).
pub fn pointer_token(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    path: Vec<String>,
}

impl<'a> Reader<'a> {
    fn document(mut self) -> Result<Option<Node>, Problem> {
        let mut root = None;
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) if documents == 1 => return self.fail(span, "only one document is allowed"),
                Event::DocumentStart(_) => documents += 1,
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                event => {
                    let node = self.node(event, span)?;
                    root = (!matches!(node.content, Content::Scalar(Value::Null))).then_some(node);
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Problem> {
        let content = match event {
            Event::Scalar(text, style, 0, None) => Content::Scalar(self.scalar(text, style, span)?),
            Event::SequenceStart(0, None) => self.list(span)?,
            Event::MappingStart(0, None) => self.map(span)?,
            Event::Alias(_) => return self.fail(span, "aliases are not allowed"),
            Event::Scalar(_, _, _, tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => {
                return self.fail(span, if tag.is_some() { "tags are not allowed" } else { "anchors are not allowed" });
            }
            _ => return self.fail(span, "a value is expected"),
        };
        Ok(Node { line: line(span), content })
    }

    fn list(&mut self, span: Span) -> Result<Content, Problem> {
        self.check_depth(span)?;
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Content::List(items));
            }
            self.path.push(items.len().to_string());
            items.push(self.node(event, span)?);
            self.path.pop();
        }
    }

    fn map(&mut self, span: Span) -> Result<Content, Problem> {
        self.check_depth(span)?;
        let mut entries = BTreeMap::new();
        loop {
            let (event, at) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Content::Map(entries)),
                Event::Scalar(text, _, 0, None) => text.into_owned(),
                _ => return self.fail(at, "a key must be a plain string"),
            };
            self.path.push(pointer_token(&key));
            if entries.contains_key(&key) {
                return self.fail(at, "the key is there twice");
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span)?;
            entries.insert(key, Node { line: line(at), ..node });
            self.path.pop();
        }
    }

    fn scalar(&self, text: Cow<'a, str>, style: ScalarStyle, span: Span) -> Result<Value, Problem> {
        let no_tag: Option<&Cow<'_, Tag>> = None;
        match Scalar::parse_from_cow_and_metadata(text, style, no_tag) {
            None | Some(Scalar::Null) => Ok(Value::Null),
            Some(Scalar::Boolean(value)) => Ok(Value::Bool(value)),
            Some(Scalar::Integer(value)) => Ok(value.into()),
            Some(Scalar::String(value)) => Ok(value.into()),
            Some(Scalar::FloatingPoint(value)) => match Number::from_f64(value.into_inner()) {
                Some(number) => Ok(Value::Number(number)),
                None => self.fail(span, "the number is not finite"),
            },
        }
    }

    fn check_depth(&self, span: Span) -> Result<(), Problem> {
        if self.path.len() < MAX_DEPTH { Ok(()) } else { self.fail(span, "nested more than 16 levels deep") }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => self.fail(Span::empty(*error.marker()), error.info()),
            None => self.fail(Span::default(), "the text ends too early"),
        }
    }

    fn fail<T>(&self, span: Span, message: &str) -> Result<T, Problem> {
        let pointer: String = self.path.iter().flat_map(|token| ["/", token]).collect();
        Err(Problem::new("yaml", pointer, message).line(line(span)))
    }
}

fn line(span: Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_and_lines() {
        let text = "# comment\na: 1\nb/c:\n  - x\n  - y: true\n    z: ~\n'1': 1.5\n";
        let node = read(text).unwrap().unwrap();
        assert_eq!(node.value(), json!({"a": 1, "b/c": ["x", {"y": true, "z": null}], "1": 1.5}));
        for (pointer, line) in [("", 2), ("/a", 2), ("/b~1c", 3), ("/b~1c/0", 4), ("/b~1c/1/z", 6), ("/1", 7)] {
            assert_eq!(node.line(pointer), line, "{pointer}");
        }
        assert_eq!(node.line("/b~1c/7/q"), 3, "the deepest parent");
    }

    #[test]
    fn nothing_is_nothing() {
        for text in ["", "\n\n", "# only words\n", "---\n", "~"] {
            assert!(read(text).unwrap().is_none(), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_of_the_subset_is_refused_where_it_is() {
        for (text, pointer, line, message) in [
            ("a: 1\na: 2\n", "/a", 2, "twice"),
            ("a: {b: 1,\n  b: 2}\n", "/a/b", 2, "twice"),
            ("a: 1\n---\nb: 1\n", "", 2, "one document"),
            ("a: &x 1\nb: 2\n", "/a", 1, "anchors"),
            ("a: 1\nb: *a\n", "/b", 2, "anchor"),
            ("a: !!str 1\n", "/a", 1, "tags"),
            ("? [a]\n: 1\n", "", 1, "plain string"),
            ("a:\n  - .inf\n", "/a/0", 2, "finite"),
            ("a: [1\nb: 2\n", "/a", 2, ""),
        ] {
            let problem = read(text).unwrap_err();
            assert!(problem.message.contains(message), "{text:?}: {problem}");
            assert_eq!(problem.line, Some(line), "{text:?}: {problem}");
            assert!(problem.pointer.starts_with(pointer), "{text:?}: {problem}");
        }
    }

    #[test]
    fn depth_is_bounded_before_the_stack_is() {
        for opening in ["[", "- ", "{a: ", "? "] {
            let problem = read(&opening.repeat(100_000)).unwrap_err();
            assert_eq!(problem.code, "yaml", "{opening:?}");
        }
        assert!(read(&"[".repeat(17)).unwrap_err().message.contains("16 levels"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[-a-z0-9 :#\\n\\t\"'\\[\\]{},&*!|>%@`?~]{0,200}") {
            let _answer = read(&text);
        }

        #[test]
        fn json_is_yaml(entries in prop::collection::btree_map("[a-z ~/]{1,8}", "[ -~\\n\\té€]{0,12}", 0..6)) {
            let value = json!({ "map": entries, "list": entries.values().collect::<Vec<_>>() });
            prop_assert_eq!(read(&value.to_string()).unwrap().unwrap().value(), value);
        }
    }
}
