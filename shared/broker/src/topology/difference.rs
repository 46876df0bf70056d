//! What a stream or consumer on the server has otherwise than its file, and what of it may be changed.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value, json};

/// A configuration: fields as in the API.
pub type Config = Map<String, Value>;

/// Something that does not stand as its file says.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// It is not there at all.
    Missing {
        /// Such as `stream TASKS` or `consumer TASKS/task-manager`.
        asset: String,
    },
    /// A field has another value.
    Field {
        /// Such as `stream TASKS`.
        asset: String,
        /// The field's name in the API.
        field: String,
        /// The value on the server; null where it has the default.
        stands: Value,
        /// The value in the file; null where it has none.
        wanted: Value,
        /// Whether it can be changed without losing what is stored.
        safe: bool,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { asset } => write!(f, "{asset} is missing"),
            Self::Field { asset, field, stands, wanted, safe } => {
                let hint = if *safe { "" } else { "; changing it could lose data, so it is left to you" };
                write!(f, "{asset}: {field} is {stands}, the file says {wanted}{hint}")
            }
        }
    }
}

/// The fields in which `stands` is not as `wanted`. A field that one side lacks has its default there.
pub(super) fn compare(asset: &str, stands: &Config, wanted: &Config) -> Vec<Difference> {
    let fields: BTreeSet<&String> = stands.keys().chain(wanted.keys()).collect();
    let value = |config: &Config, field: &str| config.get(field).map_or(Value::Null, |v| plain(field, v));
    let differs = |field: &&String| value(stands, field) != value(wanted, field);
    // Where the file is silent, the server gives these a value of its own; by its name it was found.
    let given = |field: &&String| ["name", "duplicate_window", "num_replicas"].contains(&field.as_str());
    let compared = |field: &&String| wanted.contains_key(*field) || !given(field);
    fields
        .into_iter()
        .filter(compared)
        .filter(differs)
        .map(|field| {
            let (stands, wanted) = (value(stands, field), value(wanted, field));
            let safe = is_safe(field, &stands, &wanted);
            Difference::Field { asset: asset.to_owned(), field: field.clone(), stands, wanted, safe }
        })
        .collect()
}

/// A value without what the server adds, and null for a default.
fn plain(field: &str, value: &Value) -> Value {
    let mut value = value.clone();
    if let (true, Some(metadata)) = (field == "metadata", value.as_object_mut()) {
        metadata.retain(|key, _| !key.starts_with("_nats."));
    }
    let empty = match &value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => matches!(number.as_i64(), Some(0 | -1)),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) => false,
    };
    let default = [
        ("retention", json!("limits")),
        ("storage", json!("file")),
        ("discard", json!("old")),
        ("compression", json!("none")),
        ("deliver_policy", json!("all")),
        ("replay_policy", json!("instant")),
    ];
    if empty || default.iter().any(|(name, default)| *name == field && *default == value) { Value::Null } else { value }
}

/// Whether the server can change the field, and nothing that is stored is lost by it or becomes unreachable.
fn is_safe(field: &str, stands: &Value, wanted: &Value) -> bool {
    match field {
        // Null is no limit. A lower one would remove messages at once.
        "max_age" | "max_msgs" | "max_bytes" | "max_msgs_per_subject" => match (stands.as_u64(), wanted.as_u64()) {
            (Some(stands), Some(wanted)) => wanted >= stands,
            (_, None) => true,
            (None, Some(_)) => false,
        },
        // A subject that is taken away leaves its messages where nobody looks for them.
        "subjects" => match (stands.as_array(), wanted.as_array()) {
            (Some(stands), Some(wanted)) => stands.iter().all(|subject| wanted.contains(subject)),
            _ => false,
        },
        // The other way the stream would drop what is old.
        "discard" => wanted == "new",
        "description"
        | "metadata"
        | "max_consumers"
        | "max_msg_size"
        | "num_replicas"
        | "compression"
        | "duplicate_window"
        | "discard_new_per_subject"
        | "allow_direct"
        | "allow_atomic"
        | "allow_rollup_hdrs"
        | "ack_wait"
        | "max_deliver"
        | "max_ack_pending"
        | "max_waiting"
        | "filter_subject"
        | "filter_subjects" => true,
        // The server turns these on, never off.
        "deny_delete" | "allow_msg_ttl" | "allow_msg_schedules" => wanted == true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields(stands: Value, wanted: Value) -> Vec<(String, bool)> {
        let differences = compare("stream X", stands.as_object().unwrap(), wanted.as_object().unwrap());
        differences
            .into_iter()
            .map(|difference| match difference {
                Difference::Field { field, safe, .. } => (field, safe),
                Difference::Missing { .. } => unreachable!(),
            })
            .collect()
    }

    #[test]
    fn defaults_and_the_servers_own_are_no_difference() {
        let stands = json!({"name": "X", "max_msgs": -1, "max_age": 0, "storage": "file", "duplicate_window": 5,
            "consumer_limits": {}, "sealed": false, "metadata": {"_nats.ver": "2.15.1"}});
        assert_eq!(fields(stands, json!({"name": "X"})), []);
    }

    #[test]
    fn what_was_turned_on_by_hand_is_seen() {
        let stands = json!({"republish": {"src": ">", "dest": "x"}, "allow_direct": true});
        assert_eq!(fields(stands, json!({})), [("allow_direct".into(), true), ("republish".into(), false)]);
    }

    #[test]
    fn a_limit_is_raised_and_never_lowered() {
        let limit = |n: i64| json!({ "max_age": n });
        assert_eq!(fields(limit(5), limit(6)), [("max_age".into(), true)]);
        assert_eq!(fields(limit(5), limit(0)), [("max_age".into(), true)]);
        assert_eq!(fields(limit(6), limit(5)), [("max_age".into(), false)]);
        assert_eq!(fields(limit(-1), limit(5)), [("max_age".into(), false)]);
    }

    #[test]
    fn subjects_are_added_and_never_taken_away() {
        let subjects = |s: &[&str]| json!({ "subjects": s });
        assert_eq!(fields(subjects(&["a"]), subjects(&["b", "a"])), [("subjects".into(), true)]);
        assert_eq!(fields(subjects(&["a", "b"]), subjects(&["b"])), [("subjects".into(), false)]);
    }
}
