//! `muster` as people and scripts meet it: a process with its arguments, output, exit code and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use muster_testkit::{NatsServer, PATIENCE, Process, binary, eventually};
use muster_tests::{COMPONENTS, System};
use serde_json::{Value, json};

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("no JSON document: {e}: {self:?}"))
    }
}

fn run(mut command: Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs `muster` with arguments that hold no spaces of their own, then with `last` as one more.
fn muster(system: &System, line: &str, last: &[&str]) -> Ran {
    let mut command = system.muster().unwrap();
    command.args(line.split_whitespace()).args(last);
    run(command)
}

/// A program without a server of its own.
fn alone(url: &str, line: &str) -> Ran {
    let mut command = binary("muster").unwrap();
    command.env("NATS_URL", url).env_remove("NATS_CONTEXT").args(line.split_whitespace());
    run(command)
}

/// Adds virtual agents and waits until all are there.
async fn fleet(system: &System, prefix: &str, count: u32, total: u32, more: &[&str]) -> Result<Process> {
    let mut command = system.muster()?;
    command.args(["fleet", "--count", &count.to_string(), "--prefix", prefix]).args(more);
    let fleet = Process::start(command)?;
    eventually("the enrolment", PATIENCE, || async {
        let answer = system.ask("agent.list", &json!({ "limit": 1 })).await.ok()?;
        (answer["total"] == total).then_some(())
    })
    .await;
    Ok(fleet)
}

/// Waits until the task-manager answers.
async fn answering(system: &System) {
    eventually("the task-manager", PATIENCE, || async { system.ask("task.list", &json!({})).await.ok() }).await;
}

const ASSIGN: &str = r#"{"operation":"assign","groups":["web"]}"#;

/// Fires a task's deadline now, as the schedule does when it is due.
async fn expire(system: &System, id: &str) -> Result<()> {
    jetstream::new(system.client.clone()).publish(format!("schedule.due.{id}"), "".into()).await?.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_of_a_task_has_its_exit_code() -> Result<()> {
    let mut system = System::start().await?;
    let _good = fleet(&system, "good", 3, 3, &[]).await?;
    let _bad = fleet(&system, "bad", 2, 5, &["--fail", "100%"]).await?;
    let away = fleet(&system, "away", 1, 6, &[]).await?;
    drop(away);

    // 0, and what goes where: the id alone on stdout, progress on stderr, without a terminal as plain lines.
    let made = muster(&system, "group create web", &[]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.out.lines().count() == 1 && made.out.starts_with("t0-"), "{made:?}");
    assert!(made.err.contains("succeeded") && !made.err.contains(['\r', '\u{1b}', '[']), "{made:?}");
    let submit = format!("task submit group-assignment --wait --args {ASSIGN}");
    let done = muster(&system, &format!("{submit} -o json --query"), &["name = good-00000"]);
    assert_eq!(
        (done.code, &done.json()["state"], &done.json()["counts"]["success"]),
        (0, &json!("succeeded"), &json!(1))
    );

    // 3, 7: with some, with all it failed.
    let partial = muster(&system, &submit, &["--id", "partial", "--query", "name ~ bad-* or name ~ good-*"]);
    assert_eq!((partial.code, partial.out.as_str()), (3, "partial\n"), "{partial:?}");
    let failed = muster(&system, "group create db", &[]);
    assert_eq!(failed.code, 0, "{failed:?}");
    let failed = muster(&system, "group assign db --wait --query", &["name ~ bad-*"]);
    assert_eq!(failed.code, 7, "{failed:?}");

    // 4: refused at the door, by its function, and as a task that was published without asking.
    let refused = muster(&system, "group assign a* --all", &[]);
    assert_eq!((refused.code, refused.out.as_str()), (4, ""), "{refused:?}");
    assert!(refused.err.starts_with("error: /args/groups/0: "), "{refused:?}");
    let refused = muster(&system, "group assign a* --all -o json", &[]);
    let problem: Value = serde_json::from_str(&refused.err)?;
    assert_eq!((refused.code, &problem["code"]), (4, &json!("schema")));
    let refused = muster(&system, "group assign none --all --wait", &[]);
    assert!(refused.code == 4 && refused.err.contains("\nerror: /args/groups/0: "), "{refused:?}");
    system.publish("group-assignment", &json!({ "id": "refused", "target": { "type": "fleet" }, "args": {} })).await?;
    let watched = muster(&system, "task watch refused", &[]);
    assert!(watched.code == 4 && watched.err.starts_with("error: "), "{watched:?}");
    assert_eq!(muster(&system, "task watch none-such", &[]).code, 4);

    // 8, 5: nobody is there in time; the deadline comes.
    let late = muster(&system, &submit, &["--id", "late", "--wait-timeout", "1s", "--query", "name ~ away-*"]);
    assert!(late.code == 8 && late.out == "late\n" && late.err.contains("The task goes on"), "{late:?}");
    assert_eq!(muster(&system, "task watch late --timeout 1s", &[]).code, 8);
    expire(&system, "late").await?;
    let late = muster(&system, "task watch late -o json", &[]);
    let lines: Vec<Value> = late.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((late.code, &lines.last().unwrap()["state"]), (5, &json!("expired")));

    // 6, and 1 for a plan that nobody can make: the function is not there.
    system.kill("group-assignment")?;
    assert_eq!(muster(&system, &format!("task submit group-assignment --all --id off --args {ASSIGN}"), &[]).code, 0);
    let plan = muster(&system, &format!("task plan group-assignment --all --args {ASSIGN}"), &[]);
    assert!(plan.code == 1 && plan.err.contains("muster run group-assignment"), "{plan:?}");
    assert_eq!(muster(&system, "task cancel off --reason mistake --user ada", &[]).code, 0);
    let watched = muster(&system, "task watch off", &[]);
    assert!(watched.code == 6 && watched.err.contains("mistake"), "{watched:?}");

    // 1: the task-manager is not there, the server is not there.
    system.kill("task-manager")?;
    let asked = muster(&system, "task list", &[]);
    assert!(asked.code == 1 && asked.err.contains("muster run task-manager"), "{asked:?}");
    system.server.kill().await?;
    let asked = muster(&system, "task list", &[]);
    assert!(asked.code == 1 && asked.err.contains("no NATS server answers"), "{asked:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_targets_lists_and_retries() -> Result<()> {
    let system = System::start().await?;
    let _good = fleet(&system, "good", 3, 3, &[]).await?;
    let _bad = fleet(&system, "bad", 2, 5, &["--fail", "100%"]).await?;
    muster(&system, "group create web --user ada --source dashboard", &[]);
    assert_eq!(muster(&system, "group assign web --agent 001 --wait", &[]).code, 0);

    // A plan writes nothing.
    let plan = format!("task plan group-assignment --all --args {ASSIGN}");
    let before = muster(&system, "task list -o json", &[]).json();
    let planned = muster(&system, &plan, &[]);
    assert_eq!(planned.code, 0, "{planned:?}");
    assert!(planned.out.contains("set-group") && planned.out.contains("\ncommanded  4 "), "{planned:?}");
    let planned = muster(&system, &format!("{plan} -o json"), &[]).json();
    let skipped = planned["decisions"].as_array().unwrap().iter().find(|d| d["decision"] == "skipped").unwrap();
    assert_eq!(
        (&skipped["count"], &skipped["sample"], &planned["recipients"]),
        (&json!(1), &json!(["001"]), &json!(5))
    );
    assert_eq!(muster(&system, "task list -o json", &[]).json(), before);
    let none = r#"task plan group-assignment --all --args {"operation":"assign","groups":["none"]}"#;
    let refused = muster(&system, none, &[]);
    assert!(refused.code == 4 && refused.err.contains("unknown-group"), "{refused:?}");
    let refused = muster(&system, none, &["-o", "json"]);
    assert!(refused.code == 4 && refused.json()["refused"][0]["code"] == "unknown-group", "{refused:?}");

    // Who failed, and why; a page, and all of them a line each.
    let ran = muster(&system, &format!("task submit group-assignment --wait --id first --all --args {ASSIGN}"), &[]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let failures = muster(&system, "task targets first --status failure", &[]);
    let rows: Vec<&str> = failures.out.lines().collect();
    assert!(rows.len() == 3 && rows[1].starts_with("004") && rows[1].contains("injected failure"), "{failures:?}");
    let page = muster(&system, "task targets first --limit 2", &[]);
    assert!(page.out.lines().count() == 3 && page.err.contains("--after 2"), "{page:?}");
    let page = muster(&system, "task targets first --after 4 -o json", &[]).json();
    assert_eq!((&page["targets"][0]["id"], &page["next"]), (&json!("005"), &Value::Null));
    let all = muster(&system, "task targets first --all -o json", &[]);
    let all: Vec<Value> = all.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = all.iter().map(|target| target["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["001", "002", "003", "004", "005"]);

    // Again with those alone; the same id twice is one task.
    let again = muster(&system, "task retry first --id again --wait", &[]);
    assert_eq!((again.code, again.out.as_str()), (7, "again\n"), "{again:?}");
    assert_eq!(muster(&system, "task retry first --id again -o json", &[]).json()["id"], "again");
    assert_eq!(muster(&system, "task show again -o json", &[]).json()["counts"]["failure"], 2);
    let nobody = muster(&system, "task retry first --status timeout --wait -o json", &[]);
    assert_eq!((nobody.code, &nobody.json()["recipients"]), (0, &json!(0)), "{nobody:?}");
    assert_eq!(muster(&system, "task retry none-such", &[]).code, 4);

    // Lists.
    let ids = |line: &str| -> Vec<String> {
        let ran = muster(&system, line, &["-o", "json"]);
        let tasks = ran.json()["tasks"].as_array().unwrap().clone();
        tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    };
    let every = ids("task list");
    assert_eq!(every.len(), 5, "{every:?}");
    assert_eq!(ids("task list --state failed"), ["again"]);
    assert_eq!(ids("task list --type group-configuration"), [every[4].clone()]);
    assert_eq!(ids("task list --user ada --source dashboard --since 1h"), [every[4].clone()]);
    assert_eq!(ids("task list --since 2100-01-01T00:00:00Z").len(), 0);
    let first = muster(&system, "task list --limit 2", &[]);
    let before = first.err.split_once("--before ").unwrap().1.split_whitespace().next().unwrap().to_owned();
    assert_eq!(ids(&format!("task list --before {before}")), every[2..]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn why_has_one_answer() -> Result<()> {
    let mut system = System::start().await?;
    let _good = fleet(&system, "good", 3, 3, &[]).await?;
    let _bad = fleet(&system, "bad", 1, 4, &["--fail", "100%"]).await?;
    drop(fleet(&system, "away", 1, 5, &[]).await?);
    assert_eq!(muster(&system, "group create web", &[]).code, 0);
    let assign = |id: &str, agent: &str, more: &str| {
        let line = format!("group assign web --agent {agent} --id {id} --wait --wait-timeout 60s {more}");
        muster(&system, &line, &[]).code
    };
    assert_eq!(assign("done", "001", ""), 0);
    assert_eq!(assign("same", "001", ""), 0);
    assert_eq!(assign("failed", "004", ""), 7);
    assert_eq!(muster(&system, "group assign web --agent 005 --id overtaken", &[]).code, 0);
    let verdict = |task: &str, agent: &str| {
        let ran = muster(&system, &format!("why {task} {agent} -o json"), &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    };
    let becomes = async |task: &str, agent: &str, wanted: &str| -> Value {
        eventually(&format!("why {task} {agent}: {wanted}"), PATIENCE, || async {
            let said = verdict(task, agent);
            if said["verdict"] == wanted { Ok(said) } else { Err(said["answer"].to_string()) }
        })
        .await
    };

    becomes("done", "001", "succeeded").await;
    assert_eq!(verdict("same", "001")["verdict"], "skipped");
    let failed = becomes("failed", "004", "failed").await;
    assert!(failed["answer"].as_str().unwrap().contains("injected failure"), "{failed}");
    let other = verdict("done", "002");
    assert_eq!(other["verdict"], "not-matched");
    assert!(other["answer"].as_str().unwrap().contains("not among the agents named (001)"), "{other}");
    assert_eq!(verdict("done", "777")["verdict"], "not-enrolled");
    assert_eq!(muster(&system, "why none-such 001", &[]).code, 4);
    assert_eq!(muster(&system, "why done 1", &[]).code, 4);

    becomes("overtaken", "005", "offline").await;
    assert_eq!(muster(&system, "group replace --agent 005 --id newer", &[]).code, 0);
    assert_eq!(becomes("overtaken", "005", "superseded").await["by"], "newer");
    becomes("newer", "005", "offline").await;
    expire(&system, "newer").await?;
    becomes("newer", "005", "expired").await;
    system.publish("group-assignment", &json!({ "id": "refused", "target": { "type": "fleet" }, "args": {} })).await?;
    system.ended("refused").await;
    assert_eq!(verdict("refused", "001")["verdict"], "refused");

    system.kill("comms-api")?;
    assert_eq!(muster(&system, "group assign web --agent 002 --id held", &[]).code, 0);
    eventually("why held 002", PATIENCE, || async {
        let ran = muster(&system, "why held 002", &[]);
        if ran.out.contains("no gateway has taken it up: muster run comms-api") { Ok(()) } else { Err(ran) }
    })
    .await;
    system.kill("group-assignment")?;
    assert_eq!(muster(&system, "group assign web --agent 003 --id early", &[]).code, 0);
    eventually("why early 003", PATIENCE, || async {
        let ran = muster(&system, "why early 003", &[]);
        if ran.out.contains("is not planned yet") { Ok(()) } else { Err(ran) }
    })
    .await;
    assert_eq!(muster(&system, "task cancel early --reason mistake", &[]).code, 0);
    let cancelled = muster(&system, "why early 003 -o json", &[]).json();
    assert_eq!(cancelled["verdict"], "cancelled");

    // Nothing runs any more, and the answers are the same.
    for service in ["task-manager", "result-collector", "group-configuration"] {
        system.kill(service)?;
    }
    for (task, agent, wanted) in
        [("done", "001", "succeeded"), ("overtaken", "005", "superseded"), ("newer", "005", "expired")]
    {
        assert_eq!(muster(&system, &format!("why {task} {agent} -o json"), &[]).json()["verdict"], wanted);
    }
    let page = muster(&system, "why overtaken 005", &[]);
    assert!(page.out.lines().next().unwrap().starts_with("The newer task newer has taken the place"), "{page:?}");
    assert!(page.out.contains("\n  agents/page.overtaken.0: commanded\n"), "{page:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_finds_what_is_not_well() -> Result<()> {
    let mut system = System::start().await?;
    let home = tempfile::tempdir()?;
    for function in muster_functions::ALL.iter().map(|entry| entry.kind.name()) {
        if !COMPONENTS.contains(&function) {
            system.run(function, &[])?;
        }
    }
    let directory = home.path().to_str().context("a path")?;
    system.run("server", &[("MUSTER_NODE_NAME", "node-1"), ("MUSTER_NODE_DIR", directory)])?;
    // The tests' server redelivers sooner than the files say: something found, and cured as the doctor says.
    let altered = muster(&system, "doctor", &[]);
    assert!(altered.code == 1 && altered.out.contains("ack_wait") && altered.out.contains("muster provision --apply"));
    assert_eq!(muster(&system, "provision --apply", &[]).code, 0);
    let well = eventually("health", PATIENCE, || async {
        let ran = muster(&system, "doctor -o json", &[]);
        if ran.code == 0 { Ok(ran.json()) } else { Err(ran) }
    })
    .await;
    assert_eq!(well["healthy"], true);

    system.kill("group-configuration")?;
    let change = |field: &str, value: Value| {
        let (client, field) = (system.client.clone(), field.to_owned());
        async move {
            let info = client.request("$JS.API.STREAM.INFO.DEAD", "".into()).await?;
            let mut config = serde_json::from_slice::<Value>(&info.payload)?["config"].clone();
            config[field.as_str()] = value;
            let update = config.to_string().into();
            let answer = client.request("$JS.API.STREAM.UPDATE.DEAD", update).await?;
            let answer: Value = serde_json::from_slice(&answer.payload)?;
            anyhow::ensure!(answer["error"].is_null(), "{answer}");
            Ok(())
        }
    };
    change("description", json!("by hand")).await?;
    let letter = json!({ "stream": "TASKS", "place": 7, "subject": "tasks.agent-name", "reason": "ten deliveries", "body": "", "size": 0 });
    jetstream::new(system.client.clone()).publish("dead.tasks.7", letter.to_string().into()).await?.await?;
    let ill = muster(&system, "doctor -o json", &[]);
    assert_eq!(ill.code, 1, "{ill:?}");
    let ill = ill.json();
    let found = |code: &str| -> &Value {
        let all = ill["checks"].as_array().unwrap();
        all.iter().find(|check| check["code"] == code).unwrap_or_else(|| panic!("no {code} in {ill}"))
    };
    assert_eq!((&ill["healthy"], &found("part-missing")["severity"]), (&json!(false), &json!("error")));
    assert_eq!(found("part-missing")["todo"], "muster run group-configuration");
    assert!(found("topology")["found"].as_str().unwrap().contains("description is \"by hand\""));
    assert!(found("parked")["found"].as_str().unwrap().contains("ten deliveries"));
    assert_eq!(found("consumers")["severity"], "ok");

    // A server without anything, and none.
    let bare = NatsServer::start().await?;
    let ran = alone(&bare.url(), "doctor -o json");
    assert!(ran.code == 1 && ran.out.contains("muster provision"), "{ran:?}");
    let url = bare.url();
    drop(bare);
    let ran = alone(&url, "doctor");
    assert!(ran.code == 2 && ran.out.is_empty() && ran.err.contains("no NATS server answers"), "{ran:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_and_terminals() -> Result<()> {
    let system = System::start().await?;
    answering(&system).await;
    assert_eq!(muster(&system, "provision --apply", &[]).code, 0);
    assert_eq!(muster(&system, "group create web --id made", &[]).code, 0);
    // A reader that has gone, of either stream, is no failure and no panic.
    for line in ["task list", "task watch made", "why made 001", "doctor", "completions bash", "--help"] {
        let mut command = system.muster()?;
        command.args(line.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        drop(child.stdout.take());
        let ended = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), said.as_ref()), (Some(0), ""), "{line}");
    }
    let mut command = system.muster()?;
    command.args(["task", "show", "none-such"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    drop(child.stderr.take());
    assert_eq!(child.wait()?.code(), Some(4));

    // A real terminal, 100 columns wide: a bar that is drawn over itself.
    let program = system.muster()?.get_program().to_string_lossy().into_owned();
    let mut command = Command::new("script");
    let line = format!("stty cols 100; exec {program} task watch made");
    command.args(["-qec", &line, "/dev/null"]).env("NATS_URL", system.server.url()).env("TERM", "xterm");
    match command.stdin(Stdio::null()).output() {
        Err(e) => eprintln!("the terminal is left out: script: {e}"),
        Ok(ended) => {
            let drawn = String::from_utf8_lossy(&ended.stdout);
            assert!(drawn.contains("\r\u{1b}[Ksucceeded  [########################]"), "{drawn:?}");
            assert!(drawn.ends_with("0/0\r\n"), "what was drawn last stays: {drawn:?}");
            assert_eq!(ended.status.code(), Some(0));
        }
    }
    Ok(())
}

/// A context as the stock CLI (0.4.0) writes it.
fn context(url: &str) -> String {
    json!({
        "description": "a test", "url": url, "socks_proxy": "", "token": "", "user": "", "password": "", "creds": "",
        "nkey": "", "cert": "", "key": "", "ca": "", "nsc": "", "jetstream_domain": "", "jetstream_api_prefix": "",
        "jetstream_event_prefix": "", "inbox_prefix": "", "user_jwt": "", "user_seed": "", "color_scheme": "",
        "tls_first": false, "windows_cert_store": "", "windows_cert_match_by": "", "windows_cert_match": "",
        "windows_ca_certs_match": null,
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_of_the_stock_cli() -> Result<()> {
    let system = System::start().await?;
    answering(&system).await;
    let home = tempfile::tempdir()?;
    let folder = home.path().join("nats/context");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("fleet.json"), context(&system.server.url()))?;
    std::fs::write(folder.join("nowhere.json"), context("nats://127.0.0.1:1"))?;
    let list = |more: &[&str], env: &[(&str, &str)]| {
        let mut command = binary("muster").unwrap();
        command.env_remove("NATS_URL").env_remove("NATS_CONTEXT").env("XDG_CONFIG_HOME", home.path());
        command.envs(env.iter().copied()).args(["task", "list"]).args(more);
        run(command)
    };
    assert_eq!(list(&["--context", "fleet"], &[]).code, 0);
    assert_eq!(list(&[], &[("NATS_CONTEXT", "fleet")]).code, 0);
    assert_eq!(list(&["--context", "fleet"], &[("NATS_CONTEXT", "nowhere")]).code, 0);
    let other = list(&["--context", "none"], &[]);
    assert!(other.code == 1 && other.err.contains("'none'") && other.err.contains("nats context ls"), "{other:?}");
    let nowhere = list(&["--context", "nowhere"], &[]);
    assert!(nowhere.code == 1 && nowhere.err.contains("127.0.0.1:1"), "{nowhere:?}");
    // The one that was selected; an address on the line goes before it.
    std::fs::write(home.path().join("nats/context.txt"), "nowhere")?;
    assert_eq!(list(&[], &[]).code, 1);
    assert_eq!(list(&["--url", &system.server.url()], &[]).code, 0);
    std::fs::write(home.path().join("nats/context.txt"), "fleet")?;
    assert_eq!(list(&[], &[]).code, 0);
    Ok(())
}

#[test]
fn completions_are_scripts_of_their_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = alone("nats://127.0.0.1:1", &format!("completions {shell}"));
        assert_eq!(ran.code, 0, "{ran:?}");
        for word in ["targets", "doctor", "wait-timeout"] {
            assert!(ran.out.contains(word), "{shell} knows nothing of {word}");
        }
        let mut command = Command::new(shell);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &ran.out).unwrap();
        match command.arg("-n").arg(file.path()).output() {
            Err(e) => eprintln!("{shell} does not check its script: {e}"),
            Ok(checked) => assert!(checked.status.success(), "{checked:?}"),
        }
    }
    assert_eq!(alone("nats://127.0.0.1:1", "completions sh").code, 2);
}
