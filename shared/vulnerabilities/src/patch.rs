//! JSON Patch (RFC 6902) on one record: all or nothing, and never larger or deeper than a record may be.

use json_patch::{Patch, PatchOperation};
use muster_core::problem::Problem;
use serde_json::Value;

use crate::feed::MAX_RECORD;

/// The most operations of one patch.
pub const MAX_OPERATIONS: usize = 10_000;
/// The deepest nesting of a record. The JSON parser stops at 128, and a stored record has to be read again.
pub const MAX_DEPTH: usize = 100;

/// Reads the operations of a patch. Problems lie at `pointer`.
///
/// # Errors
/// When they are no JSON Patch, too many, or point deeper than a record goes.
pub fn parse(operations: Vec<Value>, pointer: &str) -> Result<Patch, Problem> {
    if operations.len() > MAX_OPERATIONS {
        let message = format!("{} operations; one change has at most {MAX_OPERATIONS}", operations.len());
        return Err(Problem::new("too-many-operations", pointer, message));
    }
    let read = |(number, operation)| {
        let at = || format!("{pointer}/{number}");
        let operation: PatchOperation = serde_json::from_value(operation)
            .map_err(|error| Problem::new("schema", at(), format!("not an operation of JSON Patch: {error}")))?;
        if operation.path().tokens().count() > MAX_DEPTH {
            return Err(Problem::new("too-deep", at(), format!("a path has at most {MAX_DEPTH} parts")));
        }
        Ok(operation)
    };
    operations.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Patch)
}

/// Applies a patch to a record. The pointer of a problem counts the operations.
///
/// # Errors
/// When an operation fails, or makes the record too large or too deep.
pub fn apply(mut record: Value, patch: &Patch) -> Result<Value, Problem> {
    for (number, operation) in patch.iter().enumerate() {
        let at = format!("/operations/{number}");
        json_patch::patch(&mut record, std::slice::from_ref(operation))
            .map_err(|error| Problem::new("patch-fails", &at, format!("at {}: {}", operation.path(), error.kind)))?;
        // Only these two take from the record itself: what the others add is bounded by what the patch holds. A record
        // that is copied into itself doubles each time.
        if matches!(operation, PatchOperation::Copy(_) | PatchOperation::Move(_)) {
            check(&record, &at)?;
        }
    }
    check(&record, "/operations")?;
    if !record.is_object() {
        return Err(Problem::new("patch-fails", "/operations", "what is left is no object"));
    }
    Ok(record)
}

fn check(record: &Value, pointer: &str) -> Result<(), Problem> {
    check_depth(record, pointer)?;
    let size = serde_json::to_writer(Limit(MAX_RECORD), record);
    size.map_err(|_| Problem::new("too-large", pointer, format!("the record grows beyond {MAX_RECORD} bytes")))
}

/// Refuses what is nested more than [`MAX_DEPTH`] levels deep.
pub(crate) fn check_depth(value: &Value, pointer: &str) -> Result<(), Problem> {
    if depth(value) > MAX_DEPTH {
        return Err(Problem::new(
            "too-deep",
            pointer,
            format!("the record is nested more than {MAX_DEPTH} levels deep"),
        ));
    }
    Ok(())
}

/// The levels of a value. It recurses no deeper than the parser's 128 levels, a path, and one copied value.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Counts what is written, and fails beyond a limit.
struct Limit(usize);

impl std::io::Write for Limit {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(record: Value, operations: Value) -> Result<Value, Problem> {
        apply(record, &parse(serde_json::from_value(operations).unwrap(), "/data/0/operations")?)
    }

    #[test]
    fn the_operation_that_fails_is_named() {
        let operations = json!([{"op": "add", "path": "/b", "value": 2}, {"op": "remove", "path": "/c"}]);
        let problem = patched(json!({"a": 1}), operations).unwrap_err();
        assert_eq!((problem.code.as_str(), problem.pointer.as_str()), ("patch-fails", "/operations/1"));
        let problem = patched(json!({"a": 1}), json!([{"op": "explode", "path": "/a"}])).unwrap_err();
        assert_eq!((problem.code.as_str(), problem.pointer.as_str()), ("schema", "/data/0/operations/0"));
    }

    #[test]
    fn a_record_that_is_copied_into_itself_stops_growing() {
        let wide = (0..64).map(|n| json!({"op": "copy", "from": "", "path": format!("/a{n}")})).collect();
        let problem = patched(json!({"text": "x".repeat(1000)}), wide).unwrap_err();
        assert_eq!(problem.code, "too-large");
        let deep = (0..200).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/a"})).collect();
        assert_eq!(patched(json!({"a": {}}), deep).unwrap_err().code, "too-deep");
        let path = "/a".repeat(MAX_DEPTH + 1);
        assert_eq!(patched(json!({}), json!([{"op": "add", "path": path, "value": 1}])).unwrap_err().code, "too-deep");
    }
}
