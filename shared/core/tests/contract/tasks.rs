//! Tasks that are refused: the pointer and the message that their author gets.

use muster_core::problem::Problem;
use muster_core::schema::Schema;
use serde_json::{Value, json};

use crate::schemas::Schemas;

const ASSIGNMENT: &str = "group-assignment";
const CONFIGURATION: &str = "group-configuration";

fn problems(schema: &str, task: &Value) -> Vec<Problem> {
    Schema::compile(&Schemas::load().document(schema).to_string()).unwrap().problems(task)
}

/// A good task with one part changed.
fn assignment(pointer: &str, value: Value) -> Value {
    changed(
        json!({ "target": { "type": "agent", "id": "001" }, "args": { "operation": "assign", "groups": ["web"] } }),
        pointer,
        value,
    )
}

fn configuration(pointer: &str, value: Value) -> Value {
    changed(json!({ "target": { "type": "group", "id": "web" }, "args": { "content": "" } }), pointer, value)
}

fn changed(mut task: Value, pointer: &str, value: Value) -> Value {
    match task.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            task.pointer_mut(parent).unwrap()[key] = value;
        }
    }
    task
}

fn without(mut task: Value, key: &str) -> Value {
    task.as_object_mut().unwrap().remove(key);
    task
}

#[test]
fn a_bad_task_is_refused_where_it_is_bad() {
    let groups = |n: usize| json!((0..n).map(|i| format!("g{i}")).collect::<Vec<_>>());
    let ids = |n: usize| json!((0..n).map(|i| format!("{i:03}")).collect::<Vec<_>>());
    let target = |value| assignment("/target", value);
    let good = assignment("/id", json!("a-1"));
    let table = [
        // A typo must not reach everybody.
        (
            ASSIGNMENT,
            changed(without(good.clone(), "target"), "/tarket", json!({ "type": "all" })),
            "/tarket",
            "'tarket' is not a known field",
        ),
        (ASSIGNMENT, without(good.clone(), "target"), "", "\"target\" is a required property"),
        (ASSIGNMENT, without(good.clone(), "args"), "", "\"args\" is a required property"),
        (ASSIGNMENT, json!([]), "", "is not of type \"object\""),
        (ASSIGNMENT, json!("all"), "", "is not of type \"object\""),
        (ASSIGNMENT, target(json!({ "type": "agents", "id": "001" })), "/target/type", "\"agents\" is not one of"),
        (ASSIGNMENT, target(json!({ "typ": "all" })), "/target/typ", "'typ' is not a known field"),
        (ASSIGNMENT, target(json!({ "typ": "all" })), "/target", "\"type\" is a required property"),
        (ASSIGNMENT, target(json!({ "type": "all", "id": "001" })), "/target/id", "'id' is not a known field"),
        (ASSIGNMENT, target(json!({ "type": "all", "any": [] })), "/target/type", "'type' is not a known field"),
        (ASSIGNMENT, target(json!({ "type": "agent", "ids": ["001"] })), "/target/ids", "'ids' is not a known field"),
        (ASSIGNMENT, target(json!({ "type": "agent" })), "/target", "\"id\" is a required property"),
        (ASSIGNMENT, target(json!("all")), "/target", "\"all\" is not of type \"object\""),
        (ASSIGNMENT, target(json!(null)), "/target", "null is not of type \"object\""),
        (ASSIGNMENT, target(json!({})), "/target", "\"type\" is a required property"),
        (ASSIGNMENT, target(json!({ "type": "agent", "id": 1 })), "/target/id", "1 is not of type \"string\""),
        (ASSIGNMENT, target(json!({ "type": "agent", "id": "*" })), "/target/id", "\"*\" does not match"),
        (ASSIGNMENT, target(json!({ "type": "agent", "id": ["001", ">"] })), "/target/id/1", "\">\" does not match"),
        (ASSIGNMENT, target(json!({ "type": "agent", "id": [] })), "/target/id", "less than 1 item"),
        (ASSIGNMENT, target(json!({ "type": "agent", "id": ids(10_001) })), "/target/id", "more than 10000 items"),
        (ASSIGNMENT, target(json!({ "type": "group", "id": "all" })), "/target/id", "not allowed"),
        (ASSIGNMENT, target(json!({ "type": "query", "id": ["a"] })), "/target/id", "is not of type \"string\""),
        (
            ASSIGNMENT,
            target(json!({ "any": [{ "type": "all" }, { "type": "grup", "id": "web" }] })),
            "/target/any/1/type",
            "\"grup\" is not one of",
        ),
        (ASSIGNMENT, target(json!({ "any": [] })), "/target/any", "less than 1 item"),
        (
            ASSIGNMENT,
            target(json!({ "from": { "type": "all" }, "witout": { "type": "all" } })),
            "/target/witout",
            "'witout' is not a known field",
        ),
        (
            ASSIGNMENT,
            target(json!({ "from": { "type": "all" }, "without": { "type": "group", "id": "a b" } })),
            "/target/without/id",
            "\"a b\" does not match",
        ),
        (ASSIGNMENT, assignment("/args", json!("web")), "/args", "\"web\" is not of type \"object\""),
        (ASSIGNMENT, assignment("/args/operation", json!("asign")), "/args/operation", "\"asign\" is not one of"),
        (ASSIGNMENT, assignment("/args/group", json!("web")), "/args/group", "'group' is not a known field"),
        (ASSIGNMENT, assignment("/args/groups", json!("web")), "/args/groups", "\"web\" is not of type \"array\""),
        (ASSIGNMENT, assignment("/args/groups", json!([])), "/args/groups", "less than 1 item"),
        (ASSIGNMENT, assignment("/args/groups", groups(129)), "/args/groups", "more than 128 items"),
        (ASSIGNMENT, assignment("/args/groups", json!(["a", "a"])), "/args/groups", "non-unique"),
        (ASSIGNMENT, assignment("/args/groups/0", json!("web*")), "/args/groups/0", "\"web*\" does not match"),
        (ASSIGNMENT, assignment("/args/groups/0", json!("web>")), "/args/groups/0", "\"web>\" does not match"),
        (ASSIGNMENT, assignment("/args/groups/0", json!("..")), "/args/groups/0", "not allowed"),
        (ASSIGNMENT, assignment("/args/groups/0", json!("x".repeat(256))), "/args/groups/0", "does not match"),
        (ASSIGNMENT, assignment("/args/groups/0", json!("web\n")), "/args/groups/0", "does not match"),
        (
            ASSIGNMENT,
            json!({ "args": { "operation": "delete-group", "groups": ["old"] } }),
            "/args/groups",
            "'groups' is not a known field",
        ),
        (ASSIGNMENT, json!({ "args": { "operation": "delete-group" } }), "/args", "\"group\" is a required property"),
        (
            ASSIGNMENT,
            json!({ "target": { "type": "all" }, "args": { "operation": "delete-group", "group": "old" } }),
            "/target/type",
            "\"group\" was expected",
        ),
        (ASSIGNMENT, assignment("/id", json!("t0-1")), "/id", "not allowed"),
        (ASSIGNMENT, assignment("/id", json!("a.b")), "/id", "\"a.b\" does not match"),
        (ASSIGNMENT, assignment("/id", json!("")), "/id", "does not match"),
        (ASSIGNMENT, assignment("/id", json!("x".repeat(49))), "/id", "does not match"),
        (ASSIGNMENT, assignment("/id", json!(7)), "/id", "7 is not of type \"string\""),
        (ASSIGNMENT, assignment("/timeout", json!("10m")), "/timeout", "is not of type \"integer\""),
        (ASSIGNMENT, assignment("/timeout", json!(0)), "/timeout", "less than the minimum"),
        (ASSIGNMENT, assignment("/timeout", json!(604_801)), "/timeout", "greater than the maximum"),
        (ASSIGNMENT, assignment("/deliver_until", json!(30)), "/deliver_until", "is not of type \"string\""),
        (ASSIGNMENT, assignment("/user", json!("u".repeat(256))), "/user", "longer than 255"),
        (CONFIGURATION, configuration("/target", json!({ "type": "all" })), "/target/type", "\"group\" was expected"),
        (CONFIGURATION, configuration("/target/id", json!(["web", "db"])), "/target/id", "is not of type \"string\""),
        (CONFIGURATION, configuration("/target/id", json!("web.>")), "/target/id", "\"web.>\" does not match"),
        (CONFIGURATION, configuration("/args", json!({})), "/args", "\"content\" is a required property"),
        (
            CONFIGURATION,
            configuration("/args/content", json!({ "sca": {} })),
            "/args/content",
            "is not of type \"string\"",
        ),
        (CONFIGURATION, configuration("/args/crate", json!(true)), "/args/crate", "'crate' is not a known field"),
        (CONFIGURATION, configuration("/args/create", json!("yes")), "/args/create", "is not of type \"boolean\""),
        (CONFIGURATION, configuration("/tareget", json!(1)), "/tareget", "'tareget' is not a known field"),
    ];
    for (schema, task, pointer, message) in table {
        let problems = problems(schema, &task);
        let found = problems.iter().any(|p| p.pointer == pointer && p.message.contains(message));
        assert!(found, "{schema}: {task}\nwants {pointer}: {message}\ngives {problems:#?}");
        assert!(
            problems.iter().all(|p| p.code == "schema" && !p.message.contains("any of the schemas")),
            "{problems:#?}"
        );
        assert!(problems.len() <= 3, "one fault gives few problems: {problems:#?}");
    }
}

#[test]
fn what_is_good_passes() {
    for target in [
        json!({ "type": "agent", "id": ["001", "4294967295"] }),
        json!({ "type": "group", "id": ["web.eu", "..."] }),
        json!({ "type": "server" }),
        json!({ "type": "failures", "id": "t0-17" }),
        json!({ "any": [{ "from": { "type": "all" }, "without": { "type": "query", "id": "os = linux" } }] }),
    ] {
        assert_eq!(problems(ASSIGNMENT, &assignment("/target", target.clone())), [], "{target}");
    }
    let none = changed(assignment("/args/operation", json!("replace")), "/args/groups", json!([]));
    assert_eq!(problems(ASSIGNMENT, &none), [], "replacing by no group is allowed");
}

#[test]
fn a_large_bad_task_gets_a_short_answer() {
    let long = "ä".repeat(350 * 1024);
    let many: Vec<_> = (0..10_000).map(|_| format!("*{}", "x".repeat(60))).collect();
    let keys: serde_json::Map<_, _> = (0..30_000).map(|i| (format!("an-unknown-key-{i}"), json!(i))).collect();
    // As deep as the reader of JSON allows.
    let (mut deep, mut deeper) = (json!({ "type": "none" }), json!({ "type": "none" }));
    for _ in 0..60 {
        deep = json!({ "any": [deep] });
        deeper = json!({ "from": { "from": deeper, "without": 1 } });
    }
    for task in [
        assignment("/args/groups/0", json!(long)),
        assignment("/target", json!(long)),
        assignment("/args/operation", json!(long)),
        assignment("/target/id", json!(many)),
        assignment(&format!("/{long}"), json!(1)),
        assignment(&format!("/args/{}", "k".repeat(700 * 1024)), json!(1)),
        assignment("/target", Value::Object(keys.clone())),
        assignment("/args", Value::Object(keys)),
        assignment("/target", deep),
        assignment("/target", deeper),
        json!(long),
    ] {
        let problems = problems(ASSIGNMENT, &task);
        assert!((1..=20).contains(&problems.len()), "{}", problems.len());
        assert!(problems.iter().all(|p| p.message.len() <= 300 && p.pointer.len() <= 300), "{problems:#?}");
    }
}
