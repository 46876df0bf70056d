//! What holds for all rules, events and texts; each against the plainest way to say the same.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use muster_core::problem::{Problem, Refusal};
use muster_sigma::{Event, MAX_PROBLEMS, Ruleset};
use proptest::prelude::*;
use serde_json::{Value, json};

fn rule(title: &str, detection: &Value) -> String {
    json!({ "title": title, "logsource": { "product": "linux" }, "detection": detection }).to_string()
}

fn load(files: &BTreeMap<String, String>) -> Result<Ruleset, Refusal> {
    Ruleset::load(json!(files).to_string().as_bytes())
}

/// The titles of the rules that match.
fn found(ruleset: &Ruleset, event: &Value) -> BTreeSet<String> {
    ruleset.matches(&Event::new(event.clone()).unwrap()).into_iter().map(|found| found.title).collect()
}

fn holds(detection: &Value, event: &Value) -> bool {
    let files = BTreeMap::from([("a.yml".to_owned(), rule("T", detection))]);
    !found(&load(&files).unwrap(), event).is_empty()
}

/// Whether the pattern is the whole text: `*` any text, `?` one character, `\\` before one of the three itself.
fn is(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['\\', c @ ('*' | '?' | '\\'), rest @ ..] => text.first() == Some(c) && is(rest, &text[1..]),
        ['*', rest @ ..] => (0..=text.len()).any(|n| is(rest, &text[n..])),
        ['?', rest @ ..] => !text.is_empty() && is(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && is(rest, &text[1..]),
    }
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

#[derive(Debug, Clone)]
enum Condition {
    Name(usize),
    OneOf,
    AllOf,
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

impl Condition {
    fn text(&self) -> String {
        match self {
            Self::Name(n) => format!("s{n}"),
            Self::OneOf => "1 of s*".into(),
            Self::AllOf => "all of them".into(),
            Self::Not(part) => format!("not {}", part.in_parentheses()),
            Self::And(a, b) => format!("{} and {}", a.in_parentheses(), b.in_parentheses()),
            // What binds tighter needs no parentheses.
            Self::Or(a, b) => format!("{} or {}", a.text(), b.text()),
        }
    }

    fn in_parentheses(&self) -> String {
        if matches!(self, Self::Name(_)) { self.text() } else { format!("({})", self.text()) }
    }

    fn holds(&self, there: [bool; 3]) -> bool {
        match self {
            Self::Name(n) => there[*n],
            Self::OneOf => there.contains(&true),
            Self::AllOf => !there.contains(&false),
            Self::Not(part) => !part.holds(there),
            Self::And(a, b) => a.holds(there) && b.holds(there),
            Self::Or(a, b) => a.holds(there) || b.holds(there),
        }
    }
}

fn conditions() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![4 => (0..3_usize).prop_map(Condition::Name), 1 => Just(Condition::OneOf), 1 => Just(Condition::AllOf)];
    leaf.prop_recursive(5, 24, 2, |part| {
        let two = (part.clone().prop_map(Box::new), part.clone().prop_map(Box::new));
        prop_oneof![
            part.prop_map(|part| Condition::Not(Box::new(part))),
            two.clone().prop_map(|(a, b)| Condition::And(a, b)),
            two.prop_map(|(a, b)| Condition::Or(a, b)),
        ]
    })
}

/// A line of a detection, of every kind.
fn lines() -> impl Strategy<Value = (String, Value)> {
    let field = "(a|b|c|a\\.d|)";
    let modifier = "(||contains|startswith|endswith|contains\\|all|re|re\\|i|cidr|gt|lte|exists|windash|neq|fieldref|contains\\|windash|base64offset\\|contains|hour|all)";
    let scalar = prop_oneof![
        6 => "[abAB*? /.-]{0,4}".prop_map(Value::from),
        1 => (0..3).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!("10.0.0.0/8")),
    ];
    let value = prop_oneof![scalar.clone(), prop::collection::vec(scalar, 0..4).prop_map(Value::from)];
    (field, modifier, value).prop_map(|(field, modifier, value)| {
        let key = if modifier.is_empty() { field } else { format!("{field}|{modifier}") };
        (key, value)
    })
}

fn detections() -> impl Strategy<Value = Value> {
    let map = || {
        let lines = prop::collection::vec(lines(), 1..3);
        lines.prop_map(|lines| Value::from(lines.into_iter().collect::<serde_json::Map<_, _>>()))
    };
    let keywords = || prop::collection::vec("[ab*]{0,3}", 0..3).prop_map(|words| json!(words));
    let one =
        || prop_oneof![4 => map(), 1 => keywords(), 1 => prop::collection::vec(map(), 1..3).prop_map(Value::from)];
    let condition = "(s0|s1|s0 and s1|s0 or s1|s0 and not s1|not s0|1 of s*|all of them|2 of s*)";
    (one(), one(), condition).prop_map(|(s0, s1, condition)| json!({ "s0": s0, "s1": s1, "condition": condition }))
}

fn events() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        4 => "[abAB /.-]{0,5}".prop_map(Value::from),
        1 => (0..3).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!("10.1.2.3")),
    ];
    let value = prop_oneof![
        4 => scalar.clone(),
        1 => prop::collection::vec(scalar.clone(), 0..3).prop_map(Value::from),
        1 => scalar.prop_map(|value| json!({ "d": value })),
    ];
    prop::collection::btree_map("(a|b|c)", value, 0..4).prop_map(|fields| json!(fields))
}

proptest! {
    #[test]
    fn wildcards(pattern in r"[ab*?\\\n.]{1,7}", text in r"[ab*?\\\n.]{0,8}") {
        let (p, t) = (chars(&pattern), chars(&text));
        let event = json!({ "a": text });
        let holds = |key: &str| holds(&json!({ "s": { key: pattern.clone() }, "condition": "s" }), &event);
        prop_assert_eq!(holds("a"), is(&p, &t));
        prop_assert_eq!(holds("a|startswith"), (0..=t.len()).any(|n| is(&p, &t[..n])));
        prop_assert_eq!(holds("a|endswith"), (0..=t.len()).any(|n| is(&p, &t[n..])));
        let anywhere = (0..=t.len()).any(|n| (n..=t.len()).any(|m| is(&p, &t[n..m])));
        prop_assert_eq!(holds("a|contains"), anywhere);
        prop_assert_eq!(holds("|contains"), anywhere);
    }

    #[test]
    fn conditions_mean_what_they_say(condition in conditions(), there in any::<[bool; 3]>()) {
        let text = condition.text();
        prop_assume!(text.len() <= 2048);
        let mut detection = json!({ "condition": text });
        let mut event = json!({});
        for (n, there) in there.into_iter().enumerate() {
            detection[format!("s{n}")] = json!({ format!("f{n}"): "x" });
            event[format!("f{n}")] = json!(if there { "x" } else { "y" });
        }
        prop_assert_eq!(holds(&detection, &event), condition.holds(there), "{}", condition.text());
    }

    /// What the evaluator does to try fewer rules loses none, and rules do not disturb each other.
    #[test]
    fn rules_together_are_rules_alone(detections in prop::collection::vec(detections(), 1..40),
                                      events in prop::collection::vec(events(), 1..12)) {
        let mut together = BTreeMap::new();
        let mut alone = Vec::new();
        for (n, detection) in detections.iter().enumerate() {
            let (title, text) = (n.to_string(), rule(&n.to_string(), detection));
            let file = BTreeMap::from([(format!("{n}.yml"), text)]);
            if let Ok(ruleset) = load(&file) {
                together.extend(file);
                alone.push((title, ruleset));
            }
        }
        let together = load(&together).unwrap();
        prop_assert_eq!(together.rules(), alone.len());
        for event in events {
            let each = alone.iter().filter(|(_, ruleset)| !found(ruleset, &event).is_empty());
            let each: Vec<_> = each.map(|(title, _)| title.clone()).collect();
            let found = together.matches(&Event::new(event).unwrap());
            let mut found: Vec<_> = found.into_iter().map(|found| (found.file, found.title)).collect();
            prop_assert!(found.is_sorted(), "in the order of the body: {:?}", found);
            found.sort_by_key(|(_, title)| title.parse::<usize>().unwrap_or_default());
            prop_assert_eq!(found.into_iter().map(|(_, title)| title).collect::<Vec<_>>(), each);
        }
    }

    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _answer = Ruleset::load(&body);
        let _answer = Event::parse(&body);
    }

    #[test]
    fn any_text_of_a_file_is_answered(lines in prop::collection::vec(prop_oneof![
        Just("title: T".to_owned()), Just("logsource: {product: x}".to_owned()), Just("detection:".to_owned()),
        Just("  s:".to_owned()), Just("  condition: s".to_owned()), Just("    a: x".to_owned()), Just("---".to_owned()),
        "    [a-z|.]{1,12}: [ -~é]{0,12}", "    - [ -~]{0,8}", "  condition: [a-z0-9_*() ]{0,20}", "[ -~\\n\\t]{0,20}",
    ], 0..14)) {
        let files = BTreeMap::from([("a/b.yml".to_owned(), lines.join("\n"))]);
        match load(&files) {
            Ok(ruleset) => drop(found(&ruleset, &json!({ "a": "x", "b": [1, "y"], "c": { "d": null } }))),
            Err(problems) => {
                prop_assert!((1..=MAX_PROBLEMS).contains(&problems.len()));
                for Problem { pointer, message, .. } in problems {
                    prop_assert_eq!(pointer, "/a~1b.yml");
                    prop_assert!(message.len() <= 400 && !message.is_empty());
                }
            }
        }
    }
}
