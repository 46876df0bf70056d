//! What holds for any policy, rule, expression and text.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use muster_sca::{Memory, Options, OsRegex, Outcome, Policy, Report, scan};
use pcre2::bytes::Regex;
use proptest::prelude::*;
use serde_json::{Value, json};

const COMMANDS: Options = Options { commands: true, time: Duration::from_secs(3600) };

fn policy(rule: &str, dialect: &str) -> String {
    let check = json!({ "id": 1, "title": "T", "condition": "all", "rules": [rule] });
    let header = json!({ "id": "p", "name": "P", "regex_type": dialect });
    json!({ "policy": header, "variables": { "$a": "/a,/b" }, "checks": [check] }).to_string()
}

fn system(a: &Value) -> Memory {
    let output = a.clone();
    serde_json::from_value(json!({
        "files": { "/a": a, "/d/x": "x\n1 2\n" },
        "processes": ["x", "/bin/x"],
        "commands": { "x": output },
    }))
    .unwrap()
}

fn outcome(policy: &Policy, system: &Memory) -> Outcome {
    let report: Report = scan(policy, system, COMMANDS);
    assert_eq!(report.checks[0].reason.is_some(), report.checks[0].result == Outcome::NotApplicable);
    report.checks[0].result
}

/// Texts that are often rules.
fn rule() -> impl Strategy<Value = String> {
    let target = prop::sample::select(vec![
        "f:/a",
        "f:/none,/a",
        "f:$a",
        "d:/d",
        "d:/d -> r:x",
        "d:/none",
        "p:x",
        "p:r:x",
        "c:x",
        "c:none",
        "r:HKLM",
        "f:/a,/d/x",
        "f:",
        "x:",
        "!f:/a",
    ]);
    let part = prop::sample::select(vec![
        " -> ",
        "r:",
        "n:",
        "!",
        " && ",
        " compare ",
        "<= ",
        "> ",
        "1",
        "2",
        "x",
        "\\d",
        "\\w+",
        "\\s*",
        "(",
        ")",
        "|",
        "^",
        "$",
        "\\",
        "$a",
        " ",
        ".",
        "\"",
        "é",
        "a",
        "->",
    ]);
    let term = prop::sample::select(vec![
        "r:^x",
        "!r:^x",
        "r:1",
        "!r:1",
        "n:(\\d) compare > 1",
        "!n:x(\\w*) compare < 3",
        "x",
        "!x",
        "r:x$|2",
        "!r:\\.",
    ]);
    let content = prop_oneof![
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat()),
        prop::collection::vec(term, 1..4).prop_map(|terms| format!(" -> {}", terms.join(" && "))),
    ];
    (target, content).prop_map(|(target, content)| format!("{target}{content}"))
}

fn lines() -> impl Strategy<Value = String> {
    "([x12a é]{0,4}\r?\n){0,4}[x12]{0,2}"
}

/// An expression in OSRegex and the same in PCRE2.
fn both() -> impl Strategy<Value = (String, String)> {
    let plain =
        prop::sample::select(vec![("a", "a"), ("B", "b"), (".", "\\."), ("=", "="), ("-", "-"), ("\\t", "\\t")]);
    let class = prop::sample::select(vec![
        ("\\d", "[0-9]"),
        ("\\D", "[^0-9]"),
        ("\\w", "[a-z0-9@_-]"),
        ("\\W", "[^a-z0-9@_-]"),
        ("\\s", "[ ]"),
        ("\\S", "[^ ]"),
        ("\\p", "[!-.:-?\\[\\]{-}]"),
        ("\\.", "(?s:.)"),
        ("\\(", "\\("),
    ]);
    let times = prop::sample::select(vec!["", "+", "*"]);
    let step = prop_oneof![
        plain.prop_map(|(own, other)| (own.to_owned(), other.to_owned())),
        (class, times).prop_map(|((own, other), times)| (format!("{own}{times}"), format!("{other}{times}"))),
    ];
    let steps = prop::collection::vec(step, 1..6);
    (steps, any::<(bool, bool, bool)>(), 0..6_usize, 0..6_usize).prop_map(|(steps, (start, end, group), from, to)| {
        let (from, to) = (from.min(to).min(steps.len()), from.max(to).min(steps.len()));
        let (mut own, mut other) = (String::new(), "(?i)".to_owned());
        if start {
            own.push('^');
            other.push_str("\\A");
        }
        for at in 0..=steps.len() {
            if group && at == from {
                own.push('(');
                other.push('(');
            }
            if group && at == to {
                own.push(')');
                other.push(')');
            }
            if let Some((mine, theirs)) = steps.get(at) {
                own.push_str(mine);
                other.push_str(theirs);
            }
        }
        if end {
            own.push('$');
            other.push_str("\\z");
        }
        (own, other)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Matching means what PCRE2 says of the same expression, also in what is captured.
    #[test]
    fn osregex_is_regular((own, other) in both(), text in "[aAb1 .*(\\-\té]{0,10}") {
        let regex = OsRegex::parse(&own).unwrap();
        let other = Regex::new(&other).unwrap();
        let captures = other.captures(text.as_bytes()).unwrap();
        let expected = captures.map(|captures| captures.get(captures.len() - 1).unwrap().as_bytes().to_vec());
        prop_assert_eq!(regex.is_match(text.as_bytes()), expected.is_some(), "{} on {:?}", own, text);
        prop_assert_eq!(regex.capture(text.as_bytes()).map(<[u8]>::to_vec), expected, "{} on {:?}", own, text);
    }

    #[test]
    fn any_expression_is_answered(pattern in "[\\\\dwsSp.+*^$|()a-c\t é]{0,20}", text in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(regex) = OsRegex::parse(&pattern) {
            prop_assert_eq!(regex.is_match(&text), regex.capture(&text).is_some());
        }
    }

    /// Negation turns what is known round, and only that.
    #[test]
    fn a_negated_rule_says_the_opposite(rule in rule(), text in lines(), pcre2: bool) {
        let dialect = if pcre2 { "pcre2" } else { "osregex" };
        let (Ok(plain), Ok(negated)) = (Policy::parse(&policy(&rule, dialect)), Policy::parse(&policy(&format!("not {rule}"), dialect)))
        else { return Ok(()) };
        let system = system(&text.into());
        let expected = match outcome(&plain, &system) {
            Outcome::Passed => Outcome::Failed,
            Outcome::Failed => Outcome::Passed,
            Outcome::NotApplicable => Outcome::NotApplicable,
        };
        prop_assert_eq!(outcome(&negated, &system), expected, "{}", rule);
    }

    /// What is decided without knowing a text, or with its beginning only, is so whatever the text is.
    #[test]
    fn what_is_not_read_cannot_change_what_is_decided(rule in rule(), text in lines(), cut in 0..20_usize, pcre2: bool) {
        let dialect = if pcre2 { "pcre2" } else { "osregex" };
        let Ok(policy) = Policy::parse(&policy(&rule, dialect)) else { return Ok(()) };
        let begins = text.chars().take(cut).collect::<String>();
        let known = outcome(&policy, &system(&text.into()));
        for less in [json!({ "error": "Permission denied" }), json!({ "begins": begins })] {
            let found = outcome(&policy, &system(&less));
            prop_assert!(found == known || found == Outcome::NotApplicable, "{}: {:?} with {}, {:?}", rule, found, less, known);
        }
    }

    #[test]
    fn any_text_is_answered(text in "[-a-z0-9 :#\\n\\t\"'\\[\\]{},&*!|>%@`?~$]{0,200}") {
        let _answer = Policy::parse(&text);
    }

    #[test]
    fn any_section_is_answered(name in "policy|checks|variables|requirements", value in "[-a-z0-9 :\"\\[\\]{},]{0,60}") {
        let text = "policy: {id: p, name: P}\nchecks: [{id: 1, title: T, condition: all, rules: ['f:/a']}]\n";
        let text = text.lines().filter(|line| !line.starts_with(&name)).collect::<Vec<_>>().join("\n");
        match Policy::parse(&format!("{text}\n{name}: {value}\n")) {
            Ok(policy) => { outcome(&policy, &Memory::default()); }
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}
