//! The alert that an active response is run for.

use muster_core::problem::Problem;
use serde::Serialize;
use serde_json::{Map, Value};

/// The largest alert, in bytes of compact JSON: with the rest of the message it fits in the line of 65,535 bytes that
/// programs of Wazuh 4.x read.
pub const MAX_ALERT: usize = 48 * 1024;
/// Levels of maps and lists in an alert.
const MAX_DEPTH: usize = 32;

/// An alert within the limits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Alert(Map<String, Value>);

impl Alert {
    /// Reads the text of an alert.
    ///
    /// # Errors
    /// When it is no JSON (code `json`, with the line), or as [`Alert::new`].
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > MAX_ALERT {
            return Err(too_large(text.len()));
        }
        let value = serde_json::from_str(text).map_err(|error| {
            Problem::new("json", "", error.to_string()).line(u32::try_from(error.line()).unwrap_or(u32::MAX).max(1))
        })?;
        Self::new(value)
    }

    /// An alert that was read already.
    ///
    /// # Errors
    /// When it is no object (`not-an-object`), is larger than [`MAX_ALERT`] (`too-large`) or has more than 32 levels
    /// (`too-deep`).
    pub fn new(value: Value) -> Result<Self, Problem> {
        if !within(&value, MAX_DEPTH) {
            return Err(Problem::new("too-deep", "", "nested more than 32 levels deep"));
        }
        let Value::Object(fields) = value else {
            return Err(Problem::new("not-an-object", "", "an alert is an object"));
        };
        let alert = Self(fields);
        // A map of JSON can always be written.
        let length = serde_json::to_string(&alert.0).map_or(usize::MAX, |text| text.len());
        if length > MAX_ALERT { Err(too_large(length)) } else { Ok(alert) }
    }

    /// What a path such as `data.srcip` leads to. What is null, or an empty text, list or map, is not there.
    pub fn field(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let mut value = self.0.get(names.next()?)?;
        for name in names {
            value = match value {
                Value::Object(fields) => fields.get(name)?,
                Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        let there = match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        };
        there.then_some(value)
    }

    /// The id of the agent that the alert comes from: `agent.id` (4.x) or `wazuh.agent.id` (5.0).
    pub fn agent_id(&self) -> Option<&str> {
        ["agent.id", "wazuh.agent.id"].into_iter().find_map(|path| self.field(path)?.as_str())
    }
}

fn too_large(length: usize) -> Problem {
    Problem::new("too-large", "", format!("{length} bytes; at most {MAX_ALERT} are allowed"))
}

/// Whether a value has at most so many levels; it looks no deeper.
fn within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| within(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|field| within(field, levels - 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields() {
        let alert = json!({"data": {"srcip": "10.0.0.1", "none": null, "empty": "", "list": [{"x": 0}], "map": {}}});
        let alert = Alert::new(alert).unwrap();
        for (path, found) in [("data.srcip", json!("10.0.0.1")), ("data.list.0.x", json!(0))] {
            assert_eq!(alert.field(path), Some(&found));
        }
        for path in
            ["", "data.none", "data.empty", "data.map", "data.srcip.x", "data.list.1", "data.list.-1", "rule.id"]
        {
            assert_eq!(alert.field(path), None, "{path}");
        }
    }

    #[test]
    fn whose_it_is() {
        let of = |value| Alert::new(value).unwrap().agent_id().map(str::to_owned);
        assert_eq!(of(json!({"agent": {"id": "007"}})), Some("007".into()));
        assert_eq!(of(json!({"wazuh": {"agent": {"id": "008"}}})), Some("008".into()));
        assert_eq!(of(json!({"agent": {"id": 7}})), None);
    }

    #[test]
    fn what_is_beyond_the_limits_is_refused() {
        for (text, code) in [
            ("[]".to_owned(), "not-an-object"),
            ("{\"a\":\n1,}".to_owned(), "json"),
            (format!("{{\"a\":{}{}}}", "[".repeat(32), "]".repeat(32)), "too-deep"),
            (format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_ALERT)), "too-large"),
            ("[".repeat(40_000), "json"),
        ] {
            assert_eq!(Alert::parse(&text).unwrap_err().code, code);
        }
        assert_eq!(Alert::parse("{\"a\":\n1,}").unwrap_err().line, Some(2));
        // What is short as text may be long when it is written again: six bytes stand for one.
        let controls: String = "\u{1}".repeat(MAX_ALERT / 4);
        assert_eq!(Alert::new(json!({"a": controls})).unwrap_err().code, "too-large");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), path in "[a-z.0-9]{0,12}") {
            let text = String::from_utf8_lossy(&bytes);
            if let Ok(alert) = Alert::parse(&text) {
                let _field = alert.field(&path);
            }
        }

        #[test]
        fn any_short_text_of_json_is_answered(text in "[\\[\\]{}:,\"a0-9.e\\\\ ]{0,60}", path in "[a.0]{0,8}") {
            if let Ok(alert) = Alert::parse(&text) {
                let _field = alert.field(&path);
                prop_assert_eq!(Alert::parse(&serde_json::to_string(&alert).unwrap()).unwrap(), alert);
            }
        }
    }
}
