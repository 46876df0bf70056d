//! The values in a detection.

use muster_core::problem::Problem;
use rsigma_parser::SigmaValue;
use serde_json::Value;

/// The longest text, in bytes.
pub(crate) const MAX_TEXT: usize = 4096;
/// From here on the evaluator's numbers (f64) leave out some integers.
const INEXACT: f64 = 9_007_199_254_740_992.0;

/// The value for the evaluator, a text without wildcards.
pub(crate) fn plain(value: &Value) -> SigmaValue {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => SigmaValue::Null,
        Value::Bool(value) => SigmaValue::Bool(*value),
        Value::String(text) => SigmaValue::from_raw_string(text),
        Value::Number(number) => number
            .as_i64()
            .map(SigmaValue::Integer)
            .or_else(|| number.as_f64().map(SigmaValue::Float))
            .unwrap_or(SigmaValue::Null),
    }
}

/// The value as a text of bounded length.
///
/// # Errors
/// `value`
pub(crate) fn text(value: &Value) -> Result<&str, Problem> {
    let Some(text) = value.as_str() else {
        let problem = Problem::new("value", "", "a text is expected");
        return Err(problem.hint("Quote what is not meant as a number or word of YAML."));
    };
    need(text.len() <= MAX_TEXT, || format!("a text has at most {MAX_TEXT} bytes"))?;
    Ok(text)
}

/// Checks that the value is a number that the evaluator can compare.
///
/// # Errors
/// `value`
pub(crate) fn number(value: &Value) -> Result<(), Problem> {
    need(value.is_number(), || "a number is expected".into())?;
    if value.as_f64().is_some_and(|number| number.abs() < INEXACT) {
        return Ok(());
    }
    let problem = Problem::new("value", "", "the number is too large to be compared exactly");
    Err(problem.hint("Quote it: then it is compared as a text."))
}

/// Checks that something holds.
///
/// # Errors
/// `value` with the message.
pub(crate) fn need(holds: bool, message: impl Fn() -> String) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(Problem::new("value", "", message())) }
}
