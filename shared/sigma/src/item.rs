//! One line of a detection, `field|modifiers: values`, and what the evaluator is given for it.
//!
//! Modifiers and values are checked here as pySigma does, for the evaluator ignores what it does not expect: a value
//! that is a map, a modifier without effect, a number too large to be compared.

use std::net::IpAddr;

use muster_core::problem::Problem;
use rsigma_parser::fieldpath::escape_brackets;
use rsigma_parser::{Detection, DetectionItem, FieldSpec, Modifier as M, SigmaValue, parse_field_spec};
use serde_json::Value;

use crate::budget::Budget;
use crate::text;
use crate::value::{self, MAX_TEXT, need, plain};

/// Modifiers that say where in a value a text is.
pub(crate) const PLACES: [M; 3] = [M::Contains, M::StartsWith, M::EndsWith];
/// Modifiers that say how a value is compared, when it is not as a text.
const OPERATORS: [M; 8] = [M::Re, M::Cidr, M::Exists, M::FieldRef, M::Gt, M::Gte, M::Lt, M::Lte];
/// Modifiers that compare a part of a time, in UTC.
const TIMES: [M; 6] = [M::Minute, M::Hour, M::Day, M::Week, M::Month, M::Year];
/// What such a part can be; the week is that of ISO 8601.
const TIME_RANGES: [(i64, i64); 6] = [(0, 59), (0, 23), (1, 31), (1, 53), (1, 12), (1, 9999)];

/// Reads the line of `key`.
///
/// # Errors
/// `field`, `modifier`, `value` (with its pointer below the key's), `pattern`, `pattern-cost`, `too-many-lines`.
pub(crate) fn read(key: &str, value: &Value, budget: &mut Budget) -> Result<Detection, Problem> {
    if key.len() > MAX_TEXT || key.split('|').next() == Some(".") {
        return Err(Problem::new("field", "", "no name of a field"));
    }
    let spec = parse_field_spec(key).map_err(|e| refused(e.to_string()))?;
    // Brackets are a part of the name: selectors of list members are no part of the specification.
    let field = spec.name.map(|name| escape_brackets(&name).into_owned());
    Item { field, modifiers: spec.modifiers, values: each(value), list: value.is_array() }.read(budget)
}

/// Keywords: a text, or a list of which one is somewhere in the event.
///
/// # Errors
/// As [`read`].
pub(crate) fn keywords(value: &Value, budget: &mut Budget) -> Result<Detection, Problem> {
    Item { field: None, modifiers: Vec::new(), values: each(value), list: value.is_array() }.read(budget)
}

fn each(value: &Value) -> &[Value] {
    if let Value::Array(values) = value { values } else { std::slice::from_ref(value) }
}

/// The parts of a line.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    /// The field; none for keywords.
    pub(crate) field: Option<String>,
    pub(crate) modifiers: Vec<M>,
    pub(crate) values: &'a [Value],
    /// Whether they are written as a list.
    list: bool,
}

impl Item<'_> {
    fn read(&self, budget: &mut Budget) -> Result<Detection, Problem> {
        budget.line()?;
        need(!self.values.is_empty(), || "an empty list never holds".into())?;
        if self.has(M::All) && (self.values.len() < 2 || self.has(M::Neq)) {
            return Err(refused("'all' needs a list of at least two values, and no 'neq'"));
        }
        if self.modifiers.iter().enumerate().any(|(n, modifier)| self.modifiers[..n].contains(modifier)) {
            return Err(refused("a modifier is there twice"));
        }
        let detection = match self.one_of(&OPERATORS)?.or(self.one_of(&TIMES)?) {
            None => text::read(self, budget),
            Some(M::Re) => self.regex(budget),
            Some(M::Exists) => self.exists(),
            Some(M::Cidr) => self.cidr(),
            Some(M::FieldRef) => self.field_ref(),
            Some(operator) => self.comparison(operator),
        }?;
        if !self.has(M::Neq) || self.field.is_none() {
            return Ok(detection);
        }
        // To the evaluator null differs from every value, and a field that is not there from none.
        let there = self.line(vec![M::Exists], vec![SigmaValue::Bool(true)]);
        Ok(Detection::And(vec![there, detection]))
    }

    fn regex(&self, budget: &mut Budget) -> Result<Detection, Problem> {
        self.allow(&[M::Re, M::All, M::Neq, M::IgnoreCase, M::Multiline, M::DotAll])?;
        let flags = [(M::IgnoreCase, 'i'), (M::Multiline, 'm'), (M::DotAll, 's')];
        let flags: String = flags.iter().filter(|(modifier, _)| self.has(*modifier)).map(|(_, flag)| flag).collect();
        self.each(|value| {
            let expression = value::text(value)?;
            need(!expression.is_empty(), || "an empty expression holds for every value".into())?;
            // The evaluator takes an expression that begins with (?i) for one that ignores case throughout.
            need(!clears_flags(expression), || "flags cannot be cleared within an expression, as '(?-i)' does".into())?;
            budget.expression(&if flags.is_empty() { expression.to_owned() } else { format!("(?{flags}){expression}") })
        })?;
        Ok(self.as_it_is(plain))
    }

    fn exists(&self) -> Result<Detection, Problem> {
        self.allow(&[M::Exists])?;
        self.needs_field()?;
        self.each(|value| need(value.is_boolean() && !self.list, || "true or false is expected".into()))?;
        Ok(self.as_it_is(plain))
    }

    fn cidr(&self) -> Result<Detection, Problem> {
        self.allow(&[M::Cidr, M::Neq])?;
        self.needs_field()?;
        self.each(|value| {
            let network = value::text(value)?;
            need(is_network(network), || format!("'{network}' is no CIDR network, such as 10.0.0.0/8 or fe80::/10"))
        })?;
        Ok(self.as_it_is(plain))
    }

    fn field_ref(&self) -> Result<Detection, Problem> {
        self.allow(&[M::FieldRef, M::Cased, M::Neq, M::Contains, M::StartsWith, M::EndsWith])?;
        self.needs_field()?;
        self.one_of(&PLACES)?;
        self.each(|value| value::text(value).map(drop))?;
        Ok(self.as_it_is(|value| SigmaValue::from_raw_string(&escape_brackets(value.as_str().unwrap_or_default()))))
    }

    fn comparison(&self, operator: M) -> Result<Detection, Problem> {
        let range = TIMES.iter().zip(TIME_RANGES).find(|(time, _)| **time == operator).map(|(_, range)| range);
        self.allow(range.map(|_| M::Neq).iter().chain([&operator]))?;
        self.needs_field()?;
        self.each(|value| {
            value::number(value)?;
            let Some((first, last)) = range else { return Ok(()) };
            let within = value.as_i64().is_some_and(|part| (first..=last).contains(&part));
            need(within, || format!("an integer from {first} to {last} is expected"))
        })?;
        Ok(self.as_it_is(plain))
    }

    /// The line with its own modifiers. With `all` each value is a detection of its own, so that for keywords each may
    /// be in another field.
    fn as_it_is(&self, value: impl Fn(&Value) -> SigmaValue) -> Detection {
        let modifiers: Vec<_> = self.modifiers.iter().copied().filter(|m| *m != M::All).collect();
        let values = self.values.iter().map(value);
        if self.has(M::All) {
            return Detection::And(values.map(|value| self.line(modifiers.clone(), vec![value])).collect());
        }
        self.line(modifiers, values.collect())
    }

    /// A detection of this field alone: one of the values.
    pub(crate) fn line(&self, modifiers: Vec<M>, values: Vec<SigmaValue>) -> Detection {
        Detection::AllOf(vec![DetectionItem { field: FieldSpec::new(self.field.clone(), modifiers), values }])
    }

    pub(crate) fn has(&self, modifier: M) -> bool {
        self.modifiers.contains(&modifier)
    }

    /// The one of these that is there; more than one is refused.
    pub(crate) fn one_of(&self, modifiers: &[M]) -> Result<Option<M>, Problem> {
        let mut there = self.modifiers.iter().filter(|modifier| modifiers.contains(modifier));
        match (there.next(), there.next()) {
            (Some(one), Some(other)) => Err(refused(format!("{} and {} exclude each other", name(*one), name(*other)))),
            (one, _) => Ok(one.copied()),
        }
    }

    pub(crate) fn allow<'m>(&self, allowed: impl IntoIterator<Item = &'m M>) -> Result<(), Problem> {
        let allowed: Vec<_> = allowed.into_iter().collect();
        match self.modifiers.iter().find(|modifier| !allowed.contains(modifier)) {
            Some(modifier) => Err(refused(format!("{} has no meaning here", name(*modifier)))),
            None => Ok(()),
        }
    }

    pub(crate) fn each(&self, mut check: impl FnMut(&Value) -> Result<(), Problem>) -> Result<(), Problem> {
        self.values.iter().enumerate().try_for_each(|(n, value)| check(value).map_err(|problem| self.at(n, problem)))
    }

    /// The problem with the place of the value in the list.
    pub(crate) fn at(&self, n: usize, problem: Problem) -> Problem {
        let pointer = if self.list { format!("/{n}") } else { String::new() };
        Problem { pointer, ..problem }
    }

    fn needs_field(&self) -> Result<(), Problem> {
        if self.field.is_some() { Ok(()) } else { Err(Problem::new("field", "", "it needs a field")) }
    }
}

/// The detections as one.
pub(crate) fn join(mut detections: Vec<Detection>, with: fn(Vec<Detection>) -> Detection) -> Detection {
    match detections.pop() {
        Some(only) if detections.is_empty() => only,
        last => with(detections.into_iter().chain(last).collect()),
    }
}

/// Whether the text is an address of a network or of a host in it, with the length of its prefix.
fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

/// A problem with the modifiers.
pub(crate) fn refused(message: impl Into<String>) -> Problem {
    Problem::new("modifier", "", message)
}

fn name(modifier: M) -> String {
    format!("'{modifier:?}'").to_lowercase()
}

/// Whether there may be a group such as `(?-i)` or `(?s-i:`. A literal `(?-` is taken for one too.
fn clears_flags(expression: &str) -> bool {
    let mut groups = expression.split("(?").skip(1);
    groups.any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).starts_with('-'))
}
