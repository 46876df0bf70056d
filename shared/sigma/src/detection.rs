//! The section `detection` of a rule.

use std::collections::HashMap;

use muster_core::configuration::yaml::pointer_token;
use muster_core::problem::Problem;
use rsigma_parser::{Detection, Detections};
use serde_json::{Map, Value};

use crate::budget::Budget;
use crate::{condition, item};

/// Reads the section.
///
/// # Errors
/// The first thing in it that is malformed or not supported, with its pointer in the section.
pub(crate) fn read(section: &Map<String, Value>, budget: &mut Budget) -> Result<Detections, Problem> {
    if section.contains_key("timeframe") {
        return Err(Problem::new("unsupported", "/timeframe", "rules judge each event alone: there is no 'timeframe'"));
    }
    let mut named = HashMap::new();
    for (name, value) in section.iter().filter(|(name, _)| *name != "condition") {
        let place = format!("/{}", pointer_token(name));
        named.insert(name.clone(), detection(value, budget).map_err(|problem| problem.under(&place))?);
    }
    let names: Vec<&str> = named.keys().map(String::as_str).collect();
    let texts = section.get("condition").map_or(&[][..], |value| match value {
        Value::Array(texts) => texts,
        text => std::slice::from_ref(text),
    });
    let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
    let conditions = texts.iter().map(|text| condition::read(text, &names));
    let conditions = conditions.collect::<Result<_, _>>().map_err(|problem| problem.under("/condition"))?;
    let condition_strings = texts.into_iter().map(str::to_owned).collect();
    Ok(Detections { named, conditions, condition_strings, timeframe: None })
}

/// A map (all of its lines), keywords, or a list of maps, which may have keywords among them (one of them).
fn detection(value: &Value, budget: &mut Budget) -> Result<Detection, Problem> {
    match value {
        Value::Object(map) => lines(map, budget),
        Value::Array(list) if list.is_empty() => Err(empty()),
        Value::Array(list) if list.iter().any(Value::is_object) => {
            let mut any = Vec::new();
            for (n, value) in list.iter().enumerate() {
                let one = match value {
                    Value::Object(map) => lines(map, budget),
                    Value::Array(_) => Err(Problem::new("value", "", "a map or text is expected")),
                    keyword => item::keywords(keyword, budget),
                };
                any.push(one.map_err(|problem| problem.under(&format!("/{n}")))?);
            }
            Ok(Detection::AnyOf(any))
        }
        keywords => item::keywords(keywords, budget),
    }
}

fn lines(map: &Map<String, Value>, budget: &mut Budget) -> Result<Detection, Problem> {
    if map.is_empty() {
        return Err(empty());
    }
    let mut all = Vec::new();
    for (key, value) in map {
        let line = item::read(key, value, budget);
        all.push(line.map_err(|problem| problem.under(&format!("/{}", pointer_token(key))))?);
    }
    Ok(Detection::And(all))
}

fn empty() -> Problem {
    Problem::new("value", "", "a detection without a line")
}
