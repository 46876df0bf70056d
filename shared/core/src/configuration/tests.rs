#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The pointers, lines and messages of a refused text.
fn refused(text: &str) -> Vec<(String, Option<u32>, String)> {
    parse(text).expect_err(text).into_iter().map(|p| (p.pointer, p.line, p.message)).collect()
}

#[test]
fn the_configuration_that_the_agent_of_the_field_ships() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/group-configuration/agent_linux.yml");
    let Ok(text) = std::fs::read_to_string(path) else {
        eprintln!("skipped: the real configuration is not beside this repository");
        return;
    };
    let configuration = parse(&text).unwrap();
    assert_eq!(configuration.logcollector().localfiles, ["/var/log/auth.log"]);
    assert_eq!(configuration.section_enabled("inventory"), Some(true));
    assert_eq!(configuration.section_enabled("sca"), None);
    assert_eq!(configuration.value()["events"]["batch_size"], "1MB");
}

#[test]
fn an_empty_text_is_the_empty_configuration() {
    for text in ["", "# nothing yet\n", "---\n", "{}"] {
        assert_eq!(parse(text).unwrap(), Configuration::default(), "{text:?}");
    }
}

#[test]
fn each_problem_has_its_pointer_and_line() {
    let text = "agent:\n  thread_count: many\n  colour: red\nlogcolector:\n  enabled: true\nlogcollector:\n  localfiles:\n    - /a\n    - 7\n    - path: /b\n  read_interval: soon\nsca:\n  enabled: yes\n";
    let problems = refused(text);
    for (pointer, line, message) in [
        ("/agent/thread_count", 2, "\"many\" is not of type"),
        ("/agent/colour", 3, "'colour' is not a known field"),
        ("/logcolector", 4, "'logcolector' is not a known field"),
        ("/logcollector/localfiles/1", 9, "7 is not of type"),
        ("/logcollector/localfiles/2/path", 10, "'path' is not a known field"),
        ("/logcollector/localfiles/2", 10, "\"location\" is a required property"),
        ("/logcollector/read_interval", 11, "\"soon\" does not match"),
        ("/sca/enabled", 13, "\"yes\" is not of type \"boolean\""),
    ] {
        assert!(
            problems.iter().any(|p| p.0 == pointer && p.1 == Some(line) && p.2.contains(message)),
            "{pointer} line {line}: {message} is not in {problems:#?}"
        );
    }
    assert_eq!(problems.len(), 8, "{problems:#?}");
}

#[test]
fn refused_as_a_whole() {
    assert_eq!(refused("- a list\n")[0].0, "");
    assert_eq!(refused("words")[0].1, Some(1));
    assert_eq!(refused("sca: {enabled: true}\nsca: {enabled: false}\n")[0].1, Some(2));
    assert_eq!(parse(&"#".repeat(MAX_BYTES)).unwrap(), Configuration::default());
    assert_eq!(parse(&"#".repeat(MAX_BYTES + 1)).unwrap_err()[0].code, "too-large");
}

#[test]
fn what_is_named_is_bounded() {
    let text: String = (0..10_000).map(|n| format!("k{n}: 1\n")).collect();
    assert_eq!(refused(&text).len(), 20);
    let text = format!("sca:\n  enabled: {}\n", "x".repeat(100_000));
    assert!(refused(&text)[0].2.len() < 400);
}

#[test]
fn a_later_group_wins_and_lists_are_replaced() {
    let web = parse("logcollector: {localfiles: [/a, /b], read_interval: 1s}\nsca: {enabled: true}").unwrap();
    let debian = parse("logcollector: {localfiles: [/c]}\nsca: {enabled: false}").unwrap();
    assert_eq!(
        Configuration::merge(&[web.clone(), debian.clone()]).value(),
        &json!({"logcollector": {"localfiles": ["/c"], "read_interval": "1s"}, "sca": {"enabled": false}})
    );
    let merged = Configuration::merge(&[debian, web]);
    assert_eq!(merged.logcollector().localfiles, ["/a", "/b"]);
    assert_eq!(merged.section_enabled("sca"), Some(true));
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let flag = || prop::option::of(any::<bool>());
    let files = prop::option::of(prop::collection::vec("/[a-z]{1,3}", 0..3));
    let span = prop::option::of("[0-9]{1,3}(ms|s|m|h|d)?");
    let threads = prop::option::of(1..=256u16);
    (flag(), flag(), flag(), files, span, threads).prop_map(|(sca, response, log, files, span, threads)| {
        let mut sections = json!({});
        for (section, key, value) in [
            ("sca", "enabled", sca.map(Value::from)),
            ("active_response", "enabled", response.map(Value::from)),
            ("logcollector", "enabled", log.map(Value::from)),
            ("logcollector", "localfiles", files.map(Value::from)),
            ("logcollector", "read_interval", span.map(Value::from)),
            ("agent", "thread_count", threads.map(Value::from)),
        ] {
            if let Some(value) = value {
                sections[section][key] = value;
            }
        }
        parse(&sections.to_string()).unwrap()
    })
}

proptest! {
    #[test]
    fn merging_is_associative_and_the_empty_one_is_neutral(
        a in configuration(), b in configuration(), c in configuration()
    ) {
        let merge = |left: &Configuration, right: &Configuration| Configuration::merge(&[left.clone(), right.clone()]);
        let at_once = Configuration::merge(&[a.clone(), b.clone(), c.clone()]);
        prop_assert_eq!(&merge(&merge(&a, &b), &c), &at_once);
        prop_assert_eq!(&merge(&a, &merge(&b, &c)), &at_once);
        prop_assert_eq!(&merge(&a, &Configuration::default()), &a);
        prop_assert_eq!(&merge(&Configuration::default(), &a), &a);
        prop_assert_eq!(&merge(&a, &a), &a);
        prop_assert_eq!(parse(&at_once.value().to_string()), Ok(at_once));
    }
}
