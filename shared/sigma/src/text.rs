//! Lines that compare values as they are or as texts: equal, `contains`, with wildcards, `windash`, encoded.

use muster_core::problem::Problem;
use rsigma_parser::{Detection, Modifier as M, SigmaString, SigmaValue};
use serde_json::Value;

use crate::budget::Budget;
use crate::encoded;
use crate::item::{Item, PLACES, join, refused};
use crate::pattern::{self, Anchor};
use crate::value::{self, need, plain};

const ENCODINGS: [M; 2] = [M::Base64, M::Base64Offset];
const SETS: [M; 3] = [M::Wide, M::Utf16be, M::Utf16];

/// Reads such a line.
///
/// # Errors
/// `modifier`, `value`, `pattern-cost`.
pub(crate) fn read(item: &Item<'_>, budget: &mut Budget) -> Result<Detection, Problem> {
    let line = Line::new(item)?;
    let mut wanted = Vec::new();
    for (n, value) in item.values.iter().enumerate() {
        wanted.push(line.wanted(value, budget).map_err(|problem| item.at(n, problem))?);
    }
    Ok(line.detection(wanted))
}

/// The line and those of its modifiers of which there can be only one.
struct Line<'a> {
    item: &'a Item<'a>,
    place: Option<M>,
    encoding: Option<M>,
    set: Option<M>,
}

/// What to look for in a field.
enum Wanted {
    /// It is null or not there.
    Nothing,
    Plain(SigmaValue),
    /// A regular expression, in which `.` matches everything.
    Expression(String),
}

impl<'a> Line<'a> {
    fn new(item: &'a Item<'a>) -> Result<Self, Problem> {
        let others = [M::All, M::Neq, M::Cased, M::WindAsh];
        item.allow(PLACES.iter().chain(&others).chain(&ENCODINGS).chain(&SETS))?;
        let (place, encoding, set) = (item.one_of(&PLACES)?, item.one_of(&ENCODINGS)?, item.one_of(&SETS)?);
        let at = |modifier: Option<M>| item.modifiers.iter().position(|m| Some(*m) == modifier);
        if set.is_some() && (encoding.is_none() || at(set) > at(encoding)) {
            return Err(refused("a character set such as 'wide' comes before 'base64' or 'base64offset'"));
        }
        if encoding == Some(M::Base64Offset) && place != Some(M::Contains) {
            return Err(refused("'base64offset' is about a part of the value: it needs 'contains'"));
        }
        if item.has(M::WindAsh) && encoding.is_some() {
            return Err(refused("'windash' and an encoding exclude each other"));
        }
        if item.field.is_some() {
            return Ok(Self { item, place, encoding, set });
        }
        if item.has(M::Neq) || !matches!(place, None | Some(M::Contains)) {
            return Err(refused("a keyword is looked for anywhere: 'neq', 'startswith', 'endswith' have no meaning"));
        }
        Ok(Self { item, place: Some(M::Contains), encoding, set })
    }

    /// What is looked for because of a value: one of these.
    fn wanted(&self, value: &Value, budget: &mut Budget) -> Result<Vec<Wanted>, Problem> {
        let bare = self.place.is_none() && self.encoding.is_none() && !self.item.has(M::WindAsh);
        match value {
            Value::Null if bare => return Ok(vec![Wanted::Nothing]),
            Value::Bool(_) if bare => return Ok(vec![Wanted::Plain(plain(value))]),
            Value::Number(_) if bare => return value::number(value).map(|()| vec![Wanted::Plain(plain(value))]),
            _ => {}
        }
        let text = value::text(value)?;
        need(bare || !text.is_empty(), || "an empty text is in every value".into())?;
        let text = SigmaString::new(text);
        match self.encoding {
            Some(encoding) => self.encoded(encoding, &text),
            None => self.pattern(text, budget).map(|wanted| vec![wanted]),
        }
    }

    fn encoded(&self, encoding: M, text: &SigmaString) -> Result<Vec<Wanted>, Problem> {
        need(text.is_plain(), || "wildcards cannot be encoded".into())?;
        let bytes = encoded::bytes(&text.as_plain().unwrap_or_default(), self.set);
        if encoding == M::Base64 {
            return Ok(vec![Wanted::Plain(SigmaValue::from_raw_string(&encoded::whole(&bytes)))]);
        }
        need(bytes.len() > 2, || "'base64offset' needs at least three bytes".into())?;
        Ok(encoded::inside(&bytes).map(|text| Wanted::Plain(SigmaValue::from_raw_string(&text))).collect())
    }

    fn pattern(&self, text: SigmaString, budget: &mut Budget) -> Result<Wanted, Problem> {
        let anchor = match self.place {
            Some(M::Contains) => Anchor::Anywhere,
            Some(M::StartsWith) => Anchor::Start,
            Some(M::EndsWith) => Anchor::End,
            _ => Anchor::Whole,
        };
        let Some(expression) = pattern::expression(&text, anchor, self.item.has(M::WindAsh)) else {
            return Ok(Wanted::Plain(SigmaValue::String(text)));
        };
        budget.expression(&format!("{}{expression}", if self.item.has(M::Cased) { "(?s)" } else { "(?is)" }))?;
        Ok(Wanted::Expression(expression))
    }

    /// The detection that looks for what one of the values wants, or with `all` each of them.
    fn detection(&self, wanted: Vec<Vec<Wanted>>) -> Detection {
        let all = self.item.has(M::All);
        let groups = if all { wanted } else { vec![wanted.into_iter().flatten().collect()] };
        join(groups.into_iter().map(|group| self.group(group)).collect(), Detection::And)
    }

    /// The evaluator compares all values of a line in the same way, and takes null for what is not there only where it
    /// is the only value. So each way is a line of its own.
    fn group(&self, group: Vec<Wanted>) -> Detection {
        let (mut nothing, mut values, mut expressions) = (Vec::new(), Vec::new(), Vec::new());
        for wanted in group {
            match wanted {
                Wanted::Nothing => nothing = vec![SigmaValue::Null],
                Wanted::Plain(value) => values.push(value),
                Wanted::Expression(text) => expressions.push(SigmaValue::from_raw_string(&text)),
            }
        }
        let (cased, neq) = (self.item.has(M::Cased), self.item.has(M::Neq));
        let text = self.place.into_iter().chain(cased.then_some(M::Cased)).collect();
        let regex = [M::Re, M::DotAll].into_iter().chain((!cased).then_some(M::IgnoreCase)).collect();
        let ways = [(Vec::new(), nothing), (text, values), (regex, expressions)];
        let lines = ways.into_iter().filter(|(_, values)| !values.is_empty()).map(|(mut modifiers, values)| {
            modifiers.extend(neq.then_some(M::Neq));
            self.item.line(modifiers, values)
        });
        // Not one of them is each of them not.
        join(lines.collect(), if neq { Detection::And } else { Detection::AnyOf })
    }
}
