//! The body of a ruleset: a JSON object of file names and their texts.

use std::collections::BTreeSet;
use std::fmt;

use muster_core::problem::{Problem, Refusal, refuse};
use serde::de::{Deserializer, MapAccess, Visitor};

/// The largest body of a ruleset, in bytes.
pub const MAX_BODY: usize = 512 * 1024;
/// The most files of a ruleset.
pub const MAX_FILES: usize = 2_000;
/// The largest text of a file, in bytes.
pub const MAX_FILE: usize = 64 * 1024;
/// The longest name of a file, in bytes.
pub const MAX_NAME: usize = 255;

/// The files of `body` as (name, text), in its order.
///
/// # Errors
/// `too-large`, `body` (no JSON object of texts) for the whole; `file-name`, `duplicate-file`, `too-large` for a file.
pub(crate) fn read(body: &[u8]) -> Result<Vec<(String, String)>, Refusal> {
    if body.len() > MAX_BODY {
        return refuse("too-large", "", format!("{} bytes; a ruleset has at most {MAX_BODY}", body.len()));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let files = reader.deserialize_map(Files).and_then(|files| reader.end().map(|()| files));
    let files = files.or_else(|e| refuse("body", "", format!("no JSON object of file names and texts: {e}")))?;
    let mut seen = BTreeSet::new();
    let problems: Vec<_> = files.iter().filter_map(|(name, text)| fault(name, text, seen.insert(name))).collect();
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// The JSON pointer of a file in the body.
pub(crate) fn pointer(name: &str) -> String {
    format!("/{}", muster_core::configuration::yaml::pointer_token(name))
}

fn fault(name: &str, text: &str, first: bool) -> Option<Problem> {
    let problem = |code, message: String| Some(Problem::new(code, pointer(name), message));
    if let Some(fault) = name_fault(name) {
        return problem("file-name", fault.into());
    }
    if !first {
        return problem("duplicate-file", "the file is there twice".into());
    }
    if text.len() > MAX_FILE {
        return problem("too-large", format!("{} bytes; a file has at most {MAX_FILE}", text.len()));
    }
    None
}

/// Why `name` cannot be the name of a file; `None` when it can. Names are relative paths that are safe on every system.
fn name_fault(name: &str) -> Option<&'static str> {
    if name.len() > MAX_NAME {
        return Some("a file's name has at most 255 bytes");
    }
    if !(name.ends_with(".yml") || name.ends_with(".yaml")) {
        return Some("a file's name ends with .yml or .yaml");
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    (!name.split('/').all(part)).then_some(
        "a file's name consists of letters, digits, '.', '_' and '-', with '/' between parts that do not begin with '.'",
    )
}

/// Keeps what is there twice, unlike a map.
struct Files;

impl<'de> Visitor<'de> for Files {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of file names and texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut files = Vec::new();
        while let Some(file) = map.next_entry()? {
            if files.len() == MAX_FILES {
                return Err(serde::de::Error::custom(format!("more than {MAX_FILES} files")));
            }
            files.push(file);
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn refused(body: &str) -> Vec<(String, String)> {
        read(body.as_bytes()).unwrap_err().into_iter().map(|p| (p.code, p.pointer)).collect()
    }

    #[test]
    fn files_come_in_the_order_of_the_body() {
        let files = read(br#"{"b.yml":"1","a/x-1.yaml":"2"}"#).unwrap();
        assert_eq!(files, [("b.yml".into(), "1".into()), ("a/x-1.yaml".into(), "2".into())]);
        assert_eq!(read(b"{}").unwrap(), []);
    }

    #[test]
    fn what_is_no_body() {
        for body in ["", "[]", "{", "{\"a.yml\":1}", "{\"a.yml\":\"\"} x", "\"a\""] {
            assert_eq!(refused(body), [("body".into(), String::new())], "{body}");
        }
        let many: serde_json::Map<_, _> = (0..=MAX_FILES).map(|n| (format!("{n}.yml"), json!(""))).collect();
        assert_eq!(refused(&json!(many).to_string())[0].0, "body");
        assert_eq!(refused(&" ".repeat(MAX_BODY + 1))[0].0, "too-large");
    }

    #[test]
    fn each_bad_file_is_named() {
        let long = format!("{}.yml", "x".repeat(MAX_NAME));
        for name in ["", "a", ".yml", "../a.yml", "/a.yml", "a//b.yml", "a/./b.yml", "a\\b.yml", "ä.yml", &long] {
            let body = json!({ name: "" }).to_string();
            assert_eq!(refused(&body), [("file-name".into(), pointer(name))], "{name}");
        }
        let large = "x".repeat(MAX_FILE + 1);
        let body = format!(r#"{{"a.yml":"","b/c.yml":"{large}","a.yml":""}}"#);
        let expected = [("too-large".into(), "/b~1c.yml".into()), ("duplicate-file".into(), "/a.yml".into())];
        assert_eq!(refused(&body), expected);
    }
}
