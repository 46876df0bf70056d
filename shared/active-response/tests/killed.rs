//! An agent that is killed with SIGKILL at any moment: what it had begun is undone, and nothing of it runs on.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use muster_active_response::{Alert, Left, Order, Response, Responses};
use muster_core::instant::Instant;
use serde_json::json;
use tempfile::TempDir;

const HOME: &str = "MUSTER_TEST_HOME";

/// Speaks as the programs of 4.x do. It waits where a file `wait-<command>` tells it to.
const BLOCK: &str = r#"#!/bin/sh
read -r order
case "$order" in
*'"command":"add"'*)
    echo '{"version":1,"origin":{"name":"block","module":"active-response"},"command":"check_keys","parameters":{"keys":["10.0.0.1"]}}'
    read -r answer
    case "$answer" in *'"command":"continue"'*) ;; *) exit 1 ;; esac
    echo add >> log
    if [ -e wait-add ]; then echo $$ > waits; while :; do sleep 0.05; done; fi
    echo added >> log ;;
*'"command":"delete"'*)
    echo delete >> log
    if [ -e wait-delete ]; then echo $$ > waits; while :; do sleep 0.05; done; fi
    echo deleted >> log ;;
esac
"#;

/// The agent: this very program, started again. It carries out one order, then undoes what is due.
#[test]
fn agent() {
    let Some(home) = std::env::var_os(HOME) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let home = Path::new(&home);
        let responses = Responses::open(home, "web-1", now()).unwrap();
        let text = "{name: block, executable: block, type: stateful, stateful_timeout: 1, location: local}";
        let alert = Alert::new(json!({"data": {"srcip": "10.0.0.1"}})).unwrap();
        let order = Order { id: "t1:1", timeout: Duration::from_secs(600), repeated_offenders: &[] };
        fs::write(home.join("started"), "").unwrap();
        responses.execute(&order, &Response::parse(text).unwrap(), &alert, now()).await;
        fs::write(home.join("executed"), "").unwrap();
        while let Some(due) = responses.next_due() {
            tokio::time::sleep(due.since(now())).await;
            responses.due(now()).await;
        }
        fs::write(home.join("undone"), "").unwrap();
    });
}

fn now() -> Instant {
    Instant::from_system(SystemTime::now())
}

fn home(wait: Option<&str>) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("active-response/bin/block");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(&program, BLOCK).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    if let Some(wait) = wait {
        fs::write(home.path().join(wait), "").unwrap();
    }
    home
}

fn start(home: &TempDir) -> Child {
    let mut agent = Command::new(std::env::current_exe().unwrap());
    agent.args(["--exact", "agent", "--nocapture"]).env(HOME, home.path());
    agent.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(mut agent: Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("in vain: {what}");
}

fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
}

fn read(home: &TempDir, name: &str) -> String {
    fs::read_to_string(home.path().join(name)).unwrap_or_default()
}

/// Opens the responses again and undoes all, whenever it is due. How many undos there were.
async fn restore(home: &TempDir) -> usize {
    let responses = Responses::open(home.path(), "web-1", now()).unwrap();
    let mut undone = 0;
    while let Some(due) = responses.next_due() {
        for one in responses.due(due.max(now())).await {
            assert_eq!(one.left, Left::Nothing, "{one:?}");
            undone += 1;
        }
    }
    undone
}

#[tokio::test]
async fn while_its_program_acts() {
    let home = home(Some("wait-add"));
    let agent = start(&home);
    eventually("the program acts", || !read(&home, "waits").is_empty());
    kill(agent);
    let program = read(&home, "waits");
    assert!(lives(&program), "it outlives the agent");
    assert_eq!(restore(&home).await, 1);
    assert!(!lives(&program), "but not the next one's start");
    assert_eq!(read(&home, "log"), "add\ndelete\ndeleted\n");
    assert_eq!(restore(&home).await, 0);
}

#[tokio::test]
async fn between_the_action_and_its_undo() {
    let home = home(None);
    let agent = start(&home);
    eventually("the program has acted", || home.path().join("executed").exists());
    kill(agent);
    restore(&home).await;
    assert!(read(&home, "log").starts_with("add\nadded\ndelete\n"));
    assert!(read(&home, "log").ends_with("deleted\n"));
}

#[tokio::test]
async fn while_it_undoes() {
    let home = home(Some("wait-delete"));
    let agent = start(&home);
    eventually("the program undoes", || !read(&home, "waits").is_empty());
    kill(agent);
    let program = read(&home, "waits");
    assert!(lives(&program));
    fs::remove_file(home.path().join("wait-delete")).unwrap();
    assert_eq!(restore(&home).await, 1, "at least once");
    assert!(!lives(&program));
    assert_eq!(read(&home, "log"), "add\nadded\ndelete\ndelete\ndeleted\n");
}

/// At moments that come as they may: whatever was added is deleted after it, and nothing is added twice.
#[tokio::test]
async fn at_any_moment() {
    let mut acted = 0;
    for moment in 0..24u64 {
        let home = home(None);
        let agent = start(&home);
        eventually("the agent has started", || home.path().join("started").exists());
        std::thread::sleep(Duration::from_millis(moment * 2));
        kill(agent);
        restore(&home).await;
        let log = read(&home, "log");
        let adds = log.lines().filter(|line| *line == "add").count();
        assert!(adds <= 1, "{log}");
        assert!(adds == 0 || log.ends_with("delete\ndeleted\n"), "{log}");
        acted += adds;
    }
    assert!(acted > 0, "no program ran at all");
}
