//! A small world in which all is right, and what the checks say when one thing in it is not.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::check;
use crate::account::virtual_agent;
use crate::world::{Index, Reports, Task, World};

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn counts(of: &[(&str, u64)]) -> Value {
    let mut counts: BTreeMap<&str, u64> = crate::status::STATUSES.iter().map(|status| (*status, 0)).collect();
    counts.extend(of.iter().copied());
    json!(counts)
}

fn task(kind: &str, place: u64, recipients: &[u32], state: &str, of: &[(&str, u64)]) -> Task {
    Task {
        kind: kind.into(),
        places: vec![place],
        summary: Some(json!({
            "type": kind, "state": state, "order": format!("0-{place}"), "ended": "2026-11-26T00:00:00Z",
            "recipients": recipients.len(), "counts": counts(of),
        })),
        head: Some(json!({ "decision": "recipients", "count": recipients.len() })),
        recipients: recipients.iter().copied().collect(),
        ..Task::default()
    }
}

fn entry(version: &str, task: &str, order: &str) -> Value {
    json!({ "version": version, "order": order, "task": task })
}

/// Agents 1 to 4. `move` puts 1, 2 and 3 into web, 3 fails at it, 4 is skipped; `block` runs on 1 and 2 and is
/// cancelled before 3; 4 is deleted by `bye`.
fn world() -> World {
    let mut moved =
        task("group-assignment", 1, &[1, 2, 3, 4], "partial", &[("success", 2), ("failure", 1), ("skipped", 1)]);
    moved.body = json!({ "target": { "type": "agent", "id": ["001", "002", "003", "004"] } });
    moved.plan = Some(json!({ "decision": "plan", "action": "set-group", "lane": "groups" }));
    moved.pages = BTreeMap::from([
        (0, json!({ "decision": "page", "upto": 2, "last": false, "commanded": [1, 2] })),
        (1, json!({ "decision": "page", "upto": 4, "last": true, "commanded": [3], "skipped": { "there": [4] } })),
    ]);
    moved.sets = sets(&[("decided", &[1, 2, 3, 4]), ("success", &[1, 2]), ("failure", &[3]), ("skipped.there", &[4])]);
    let mut block = task("active-response-execution", 2, &[1, 2, 3], "cancelled", &[("success", 2), ("cancelled", 1)]);
    block.plan = Some(json!({ "decision": "plan", "action": "run-active-response" }));
    block.pages = BTreeMap::from([
        (0, json!({ "decision": "page", "upto": 2, "last": false, "commanded": [1, 2] })),
        (1, json!({ "decision": "stop", "kind": "cancelled" })),
    ]);
    block.stop = Some(json!({ "kind": "cancelled" }));
    block.summary.as_mut().unwrap()["stop"] = json!({ "kind": "cancelled" });
    block.sets = sets(&[("decided", &[1, 2, 3]), ("success", &[1, 2]), ("cancelled", &[3])]);
    let mut bye = task("agent-deletion", 3, &[4], "succeeded", &[("success", 1)]);
    bye.plan = Some(json!({ "decision": "plan", "action": "disconnect" }));
    bye.pages = BTreeMap::from([(0, json!({ "decision": "page", "upto": 4, "last": true, "commanded": [4] }))]);
    bye.sets = sets(&[("decided", &[4]), ("success", &[4])]);
    let reports = |success: &[u32], failure: &[u32]| Reports {
        success: success.iter().copied().collect(),
        failure: failure.iter().copied().collect(),
        ..Reports::default()
    };
    let mut agents = Index { enrolled: (1..=4).collect(), gone: [4].into(), ..Index::default() };
    let content = json!({ "revision": 1, "digest": DIGEST, "order": "0-0", "task": "web" });
    agents.groups.insert("web".into(), json!({ "life": "alive", "contents": { "config": content } }));
    agents.members.insert("web".into(), (1..=3).collect());
    let mut accounts = BTreeMap::new();
    for number in 1..=4u32 {
        let (id, name, gone) = (format!("{number:03}"), format!("a{number}"), number == 4);
        let mut config = entry("0-2", "web", "0-1");
        config["digest"] = json!(DIGEST);
        config["revision"] = json!(1);
        let lanes = json!({ "groups": entry("0-2", "move", "0-1"), "config=web": config });
        agents.records.insert(
            number,
            json!({ "number": number, "name": name, "groups": if gone { json!([]) } else { json!(["web"]) },
                "lanes": if gone { json!({}) } else { lanes }, "gone": gone }),
        );
        if !gone {
            agents.names.insert(name, id.clone());
        }
        let failure = if number == 3 { json!({ "code": 100 }) } else { Value::Null };
        let did = match number {
            1 | 2 => json!({ "move": { "good": 1, "bad": 0 }, "block": { "good": 1, "bad": 0 } }),
            3 => json!({ "move": { "good": 0, "bad": 1 } }),
            _ => json!({}),
        };
        let line = json!({
            "agent": id, "groups": ["web"], "in_force": { "groups": ["web"], "configurations": [["web", DIGEST]] },
            "lanes": [
                { "lane": "groups", "version": "0-2", "task": "move", "failure": failure },
                { "lane": "config=web", "version": "0-2", "task": "web", "digest": DIGEST, "failure": failure },
            ],
            "edges": [], "unconfirmed": [], "did": did,
        });
        let (number, account) = virtual_agent(&line).unwrap();
        accounts.insert(number, account);
    }
    World {
        tasks: BTreeMap::from([("move".into(), moved), ("block".into(), block), ("bye".into(), bye)]),
        reports: BTreeMap::from([
            ("move".into(), reports(&[1, 2], &[3])),
            ("block".into(), Reports { stopped: true, ..reports(&[1, 2], &[]) }),
            ("bye".into(), reports(&[4], &[])),
        ]),
        agents,
        accounts,
        ..World::default()
    }
}

fn sets(of: &[(&str, &[u32])]) -> BTreeMap<String, roaring::RoaringBitmap> {
    of.iter().map(|(mark, numbers)| ((*mark).to_owned(), numbers.iter().copied().collect())).collect()
}

/// The rules that are broken when the world is changed so.
fn broken(change: impl FnOnce(&mut World)) -> Vec<&'static str> {
    let mut world = world();
    change(&mut world);
    let mut rules: Vec<&str> = check(&world).iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

fn of<'a>(world: &'a mut World, id: &str) -> &'a mut Task {
    world.tasks.get_mut(id).unwrap()
}

fn summary<'a>(world: &'a mut World, id: &str) -> &'a mut Value {
    of(world, id).summary.as_mut().unwrap()
}

#[test]
fn nothing_is_found_where_all_is_right() {
    assert_eq!(check(&world()), []);
}

#[test]
fn a_task_that_is_lost_open_or_wrong_about_itself_is_found() {
    assert_eq!(broken(|w| of(w, "move").summary = None), ["task-lost"]);
    assert_eq!(broken(|w| summary(w, "move")["state"] = json!("running")), ["task-open"]);
    assert_eq!(broken(|w| summary(w, "move")["state"] = json!("succeeded")), ["state"]);
    assert_eq!(broken(|w| summary(w, "block")["state"] = json!("succeeded")), ["state"]);
    assert_eq!(broken(|w| summary(w, "move")["counts"]["success"] = json!(3)), ["count"]);
    assert_eq!(broken(|w| summary(w, "move")["recipients"] = json!(3)), ["count"]);
    assert_eq!(broken(|w| summary(w, "move")["order"] = json!("0-2")), ["task-order"]);
}

#[test]
fn recipients_that_are_missing_strange_or_decided_twice_are_found() {
    let page = |w: &mut World, n: u32, key: &str, value: Value| of(w, "move").pages.get_mut(&n).unwrap()[key] = value;
    assert!(broken(|w| page(w, 1, "commanded", json!([]))).contains(&"recipients-missing"));
    assert!(broken(|w| page(w, 1, "commanded", json!([2, 3]))).contains(&"decided-twice"));
    assert!(broken(|w| page(w, 0, "commanded", json!([1, 2, 4]))).contains(&"decided-twice"));
    assert!(broken(|w| page(w, 0, "last", json!(true))).contains(&"pages"));
    assert!(broken(|w| drop(of(w, "move").pages.remove(&1))).contains(&"recipients-missing"));
    assert!(broken(|w| of(w, "move").body["target"]["id"] = json!(["001", "005"])).contains(&"recipients-missing"));
    assert!(broken(|w| of(w, "move").body["target"]["id"] = json!(["001"])).contains(&"recipients-strange"));
    assert!(broken(|w| page(w, 0, "replaced", json!({ "block": [1] }))).contains(&"superseded-untold"));
    assert_eq!(broken(|w| w.cancelled = BTreeMap::from([("block".into(), 1)])), ["decided-after-cancel"]);
}

#[test]
fn a_fact_without_a_cause_is_found_and_a_cause_without_its_fact() {
    let reported = |w: &mut World, id: &str, n: u32| {
        w.reports.get_mut(id).unwrap().success.remove(n);
    };
    assert_eq!(broken(|w| reported(w, "move", 1)), ["fact"]);
    assert_eq!(broken(|w| w.reports.get_mut("move").unwrap().success |= roaring::RoaringBitmap::from([3])), ["fact"]);
    assert_eq!(broken(|w| of(w, "block").stop = None), ["fact", "state"]);
    assert_eq!(broken(|w| w.reports.get_mut("block").unwrap().stopped = false), ["stop-untold"]);
}

#[test]
fn an_agent_that_did_something_else_than_its_status_says_is_found() {
    let did = |w: &mut World, n: u32, task: &str, good: u64| {
        let did = w.accounts.get_mut(&n).unwrap().did.as_mut().unwrap();
        did.entry(task.to_owned()).or_default().good = good;
    };
    assert_eq!(broken(|w| did(w, 1, "block", 2)), ["done-twice"]);
    assert_eq!(broken(|w| did(w, 1, "block", 0)), ["not-done"]);
    assert_eq!(broken(|w| did(w, 2, "move", 0)), ["not-done"]);
    assert_eq!(broken(|w| did(w, 3, "block", 1)), ["not-counted"]);
    let real = |w: &mut World, n: u32, times: u64| {
        let account = w.accounts.get_mut(&n).unwrap();
        account.did = None;
        account.ran = Some(BTreeMap::from([("block".to_owned(), times)]));
        account.files = BTreeMap::from([("groups/web.yml".to_owned(), DIGEST.to_owned())]);
    };
    assert!(broken(|w| real(w, 1, 1)).is_empty());
    assert_eq!(broken(|w| real(w, 1, 2)), ["done-twice"]);
    assert_eq!(broken(|w| real(w, 1, 0)), ["not-done"]);
}

#[test]
fn an_index_or_an_agent_that_differs_is_found() {
    assert_eq!(broken(|w| drop(w.agents.members.remove("web"))), ["members"]);
    assert_eq!(broken(|w| drop(w.agents.names.remove("a1"))), ["name"]);
    assert_eq!(broken(|w| drop(w.agents.names.insert("free".into(), "001".into()))), ["name"]);
    assert_eq!(broken(|w| w.agents.gone |= roaring::RoaringBitmap::from([1])), ["gone"]);
    assert_eq!(broken(|w| w.agents.groups.get_mut("web").unwrap()["life"] = json!("deleted")), ["group-dead"]);
    let content = |w: &mut World, revision: u64| {
        w.agents.groups.get_mut("web").unwrap()["contents"]["config"]["revision"] = json!(revision);
    };
    assert_eq!(broken(|w| content(w, 2)), ["pointer"]);
    let account = |w: &mut World, change: fn(&mut crate::Account)| change(w.accounts.get_mut(&1).unwrap());
    assert_eq!(broken(|w| account(w, |a| a.groups.clear())), ["agent-groups"]);
    assert_eq!(broken(|w| account(w, |a| drop(a.lanes.remove("config=web")))), ["agent-lane"]);
    assert_eq!(broken(|w| account(w, |a| a.in_force["configurations"] = json!([]))), ["agent-in-force"]);
}

#[test]
fn what_is_left_over_is_found() {
    assert_eq!(broken(|w| w.runs.push(("001".into(), "block".into()))), ["mailbox"]);
    assert_eq!(broken(|w| w.deadlines = Some(vec!["move".into()])), ["deadline"]);
    assert_eq!(broken(|w| w.dead.push("dead.tasks.7".into())), ["dead-letter"]);
    assert_eq!(broken(|w| w.behind.push(("TASKS".into(), "x".into(), 0, 1))), ["behind"]);
}

#[test]
fn it_shares_no_crate_with_the_product() {
    let (_, dependencies) = include_str!("../../Cargo.toml").split_once("[dependencies]").unwrap();
    assert!(dependencies.lines().all(|line| !line.contains("muster") && !line.contains("path =")), "{dependencies}");
}
