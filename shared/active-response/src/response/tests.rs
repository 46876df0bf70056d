#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::json;

use super::*;

const WHOLE: &str = "# blocks an address
name: firewall-drop
description: Blocks an address.
enabled: true
executable: firewall-drop
extra_arguments: ['--table', 'a b; c']
type: stateful
stateful_timeout: 600
location: defined-agent
agent_id: '004'
needs: [data.srcip]
keys: [data.srcip, data.dstuser]
";

#[test]
fn a_whole_one() {
    let response = Response::parse(WHOLE).unwrap();
    assert_eq!((response.name(), response.executable()), ("firewall-drop", "firewall-drop"));
    assert_eq!(response.extra_arguments(), ["--table", "a b; c"]);
    assert_eq!(response.kind(), Kind::Stateful(Duration::from_secs(600)));
    assert_eq!(response.location(), &Location::DefinedAgent("004".into()));
    assert!(response.is_enabled());
}

#[test]
fn what_is_not_said_has_a_default() {
    let response = Response::parse(r#"{"name":"x","executable":"x","type":"stateful","location":"all"}"#).unwrap();
    assert_eq!(response.kind(), Kind::Stateful(Duration::from_secs(180)));
    assert!(response.is_enabled() && response.extra_arguments().is_empty());
    assert_eq!(response.keys_in(&Alert::new(json!({})).unwrap()), None);
}

#[test]
fn the_examples_of_the_schema_come_back() {
    let document: Value = serde_json::from_str(include_str!("../../../../schemas/active-response.json")).unwrap();
    for example in document["examples"].as_array().unwrap() {
        let response = Response::parse(&example.to_string()).unwrap();
        let again = serde_json::to_string(&response).unwrap();
        assert_eq!(Response::parse(&again).unwrap(), response, "{again}");
    }
    assert_eq!(document["properties"]["stateful_timeout"]["default"], json!(three_minutes()));
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    let with = |from: &str, to: &str| WHOLE.replace(from, to);
    for (text, pointer, line, message) in [
        (with("enabled: true", "enable: true"), "/enable", 4, "not a known field"),
        (with("executable: firewall-drop", "executable: ../firewall-drop"), "/executable", 5, ""),
        (with("executable: firewall-drop", "executable: a/b"), "/executable", 5, ""),
        (with("executable: firewall-drop", "executable: a..b"), "/executable", 5, ""),
        (with("executable: firewall-drop", "executable: .hidden"), "/executable", 5, ""),
        (with("executable: firewall-drop", "executable: '!x'"), "/executable", 5, ""),
        (with("['--table', 'a b; c']", "--table x"), "/extra_arguments", 6, "array"),
        (with("'a b; c'", "\"a\\0b\""), "/extra_arguments/1", 6, ""),
        (with("type: stateful", "type: statefull"), "/type", 7, "stateful"),
        (with("600", "0"), "/stateful_timeout", 8, ""),
        (with("agent_id: '004'\n", ""), "", 2, "agent_id"),
        (with("location: defined-agent", "location: all"), "/agent_id", 10, "only with the location 'defined-agent'"),
        (with("location: defined-agent\nagent_id: '004'", "location: group"), "", 2, "group"),
        (with("[data.srcip]", "[data..srcip]"), "/needs/0", 11, ""),
        (with("[data.srcip]", "[$.data]"), "/needs/0", 11, ""),
        (with("name: firewall-drop\n", ""), "", 2, "name"),
        (with("name: firewall-drop", "name: '!x'"), "/name", 2, ""),
    ] {
        let problems = Response::parse(&text).unwrap_err();
        let found = problems.iter().any(|problem| {
            problem.pointer == pointer && problem.line == Some(line) && problem.message.contains(message)
        });
        assert!(found, "{text}: {problems:?}");
    }
    for text in ["", "~", "- a", "x", "name: *x", &"x".repeat(MAX_RESPONSE + 1)] {
        assert!(!Response::parse(text).unwrap_err().is_empty(), "{text:.20}");
    }
}

#[test]
fn arguments_are_bounded_together() {
    let arguments: Vec<_> = (0..30).map(|_| "x".repeat(1000)).collect();
    let text =
        json!({"name": "x", "executable": "x", "type": "stateless", "location": "all", "extra_arguments": arguments});
    let problems = Response::parse(&text.to_string()).unwrap_err();
    assert_eq!((problems[0].code.as_str(), problems[0].pointer.as_str()), ("too-large", "/extra_arguments"));
}

#[test]
fn what_the_alert_lacks_is_named_once() {
    let response = Response::parse(WHOLE).unwrap();
    let alert = Alert::new(json!({"data": {"dstuser": 7, "srcip": ""}})).unwrap();
    let problems = response.check(&alert).unwrap_err();
    let missing: Vec<_> = problems.iter().map(|p| (p.code.as_str(), p.pointer.as_str())).collect();
    assert_eq!(missing, [("missing-field", "/data/srcip")]);
    assert!(problems[0].message.contains("'data.srcip'") && problems[0].message.contains("firewall-drop"));
    assert_eq!(response.keys_in(&alert), None);
    let alert = Alert::new(json!({"data": {"dstuser": 7, "srcip": "10.0.0.1"}})).unwrap();
    assert_eq!(response.check(&alert), Ok(()));
    assert_eq!(response.keys_in(&alert), Some(vec!["10.0.0.1".into(), "7".into()]));
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _answer = Response::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_change_of_a_good_one_is_answered(at in 0..WHOLE.len(), with in "[-a-z0-9 :#\\n'\"\\[\\]{},&*!|>]{0,4}") {
        let text = format!("{}{with}{}", &WHOLE[..at], &WHOLE[at + 1..]);
        if let Ok(response) = Response::parse(&text) {
            let again = serde_json::to_string(&response).unwrap();
            prop_assert_eq!(Response::parse(&again).unwrap(), response);
        }
    }
}
