//! Configurations as text for people: block YAML, in the subset that `muster_core::configuration::parse` reads.

use serde_json::Value;

/// The value as YAML.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if map.is_empty() => {}
        _ => block(&mut out, value, 0),
    }
    out
}

/// Writes a value whose lines begin at `indent` levels.
fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                margin(out, indent);
                out.push_str(&name(key));
                out.push(':');
                item(out, value, indent);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for value in list {
                margin(out, indent);
                out.push('-');
                item(out, value, indent);
            }
        }
        scalar => {
            margin(out, indent);
            out.push_str(&scalar.to_string());
            out.push('\n');
        }
    }
}

/// Writes what stands behind a key or a dash.
fn item(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(out, value, indent + 1);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            block(out, value, indent + 1);
        }
        // JSON's scalars, and its empty map and list, are YAML's too.
        scalar => {
            out.push(' ');
            out.push_str(&scalar.to_string());
            out.push('\n');
        }
    }
}

fn margin(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n("  ", indent));
}

/// A key: plain where every reader takes it for a string.
fn name(key: &str) -> String {
    let word = key.len() > 3 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if word && !matches!(key, "true" | "false" | "null") { key.into() } else { Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_core::configuration::{Configuration, parse};

    #[test]
    fn what_is_written_is_what_was_parsed() {
        let text = "logcollector:\n  enabled: true\n  localfiles:\n    - '/var/log/a: b.log'\n  reload_interval: 1m\n";
        let parsed = parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
        let written = write(parsed.value());
        assert_eq!(parse(&written).unwrap(), parsed, "{written}");
        assert_eq!(parse(&write(Configuration::default().value())).unwrap(), Configuration::default());
    }
}
