//! Events: bounded JSON objects, and how rules see them.

use std::borrow::Cow;
use std::io;

use muster_core::problem::Problem;
use rsigma_eval::{EventValue, JsonEvent};
use rsigma_parser::LogSource;
use serde_json::Value;

/// The largest event as compact JSON, in bytes.
pub const MAX_EVENT: usize = 64 * 1024;
/// The levels of objects and lists in an event.
pub const MAX_DEPTH: usize = 32;

/// An event that rules can be asked about.
///
/// Its field `logsource`, if it is there, says where it comes from: an object with the texts `category`, `product` and
/// `service`, or some of them. A rule is not tried on it when both name one of the three and differ.
#[derive(Debug, Clone)]
pub struct Event {
    value: Value,
    pub(crate) logsource: LogSource,
}

impl Event {
    /// Reads an event.
    ///
    /// # Errors
    /// `too-large` beyond [`MAX_EVENT`] bytes; `event` when it is no JSON object of at most [`MAX_DEPTH`] levels.
    pub fn parse(json: &[u8]) -> Result<Self, Problem> {
        if json.len() > MAX_EVENT {
            return Err(too_large());
        }
        let value = serde_json::from_slice(json).map_err(|e| Problem::new("event", "", format!("no JSON: {e}")))?;
        Self::new(value)
    }

    /// Takes an event that has been read already.
    ///
    /// # Errors
    /// As [`Event::parse`].
    pub fn new(value: Value) -> Result<Self, Problem> {
        if !value.is_object() {
            return Err(Problem::new("event", "", "an event is a JSON object"));
        }
        if !shallow(&value, MAX_DEPTH) {
            return Err(Problem::new("event", "", format!("nested more than {MAX_DEPTH} levels deep")));
        }
        serde_json::to_writer(Room(MAX_EVENT), &value).map_err(|_full| too_large())?;
        let of = |dimension: &str| value["logsource"][dimension].as_str().map(str::to_owned);
        let logsource = LogSource {
            category: of("category"),
            product: of("product"),
            service: of("service"),
            ..LogSource::default()
        };
        Ok(Self { value, logsource })
    }

    /// The event as JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }
}

fn too_large() -> Problem {
    Problem::new("too-large", "", format!("an event has at most {MAX_EVENT} bytes"))
}

fn shallow(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| shallow(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|field| shallow(field, levels - 1)),
        _ => true,
    }
}

/// Takes so many bytes and no more.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The event for the evaluator. Fields are its own [`JsonEvent`]'s; keywords look at numbers and booleans too.
pub(crate) struct View<'a> {
    fields: JsonEvent<'a>,
    value: &'a Value,
}

impl<'a> View<'a> {
    pub(crate) fn new(event: &'a Event) -> Self {
        Self { fields: JsonEvent::borrow(&event.value), value: &event.value }
    }
}

impl rsigma_eval::Event for View<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        self.fields.get_field(path)
    }

    fn any_string_value(&self, holds: &dyn Fn(&str) -> bool) -> bool {
        any(self.value, &mut |text| holds(text))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let mut texts = Vec::new();
        self.visit_string_values(&mut |text| texts.push(Cow::Owned(text.to_owned())));
        texts
    }

    fn visit_string_values(&self, visit: &mut dyn FnMut(&str)) {
        any(self.value, &mut |text| {
            visit(text);
            false
        });
    }

    fn top_level_keys(&self) -> Option<Vec<Cow<'_, str>>> {
        self.fields.top_level_keys()
    }

    fn visit_top_level_keys(&self, visit: &mut dyn FnMut(&str)) -> bool {
        self.fields.visit_top_level_keys(visit)
    }

    fn to_json(&self) -> Value {
        self.value.clone()
    }
}

/// Whether one of the values, written as text, holds.
fn any(value: &Value, holds: &mut dyn FnMut(&str) -> bool) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => holds(text),
        Value::Bool(_) | Value::Number(_) => holds(&value.to_string()),
        Value::Array(items) => items.iter().any(|item| any(item, holds)),
        Value::Object(fields) => fields.values().any(|field| any(field, holds)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds() {
        let room = MAX_EVENT - r#"{"a":""}"#.len();
        assert!(Event::new(json!({ "a": "x".repeat(room) })).is_ok());
        assert_eq!(Event::new(json!({ "a": "x".repeat(room + 1) })).unwrap_err().code, "too-large");
        assert_eq!(Event::parse(&[b' '; MAX_EVENT + 1]).unwrap_err().code, "too-large");

        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(Event::parse(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(Event::parse(nested(MAX_DEPTH).as_bytes()).unwrap_err().code, "event");
        assert_eq!(Event::parse(nested(20_000).as_bytes()).unwrap_err().code, "event");
        for json in ["", "1", "[]", "\"a\"", "{", "{}{}"] {
            assert_eq!(Event::parse(json.as_bytes()).unwrap_err().code, "event", "{json}");
        }
    }

    #[test]
    fn what_is_no_logsource_names_no_source() {
        for value in [json!(null), json!("linux"), json!(["linux"]), json!({ "product": 5, "other": "x" })] {
            let event = Event::new(json!({ "logsource": value })).unwrap();
            assert_eq!(event.logsource, LogSource::default());
        }
        let event = Event::new(json!({ "logsource": { "product": "linux", "service": 1 } })).unwrap();
        assert_eq!(event.logsource.product.as_deref(), Some("linux"));
        assert_eq!(event.logsource.service, None);
    }
}
