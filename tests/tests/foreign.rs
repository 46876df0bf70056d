//! `docs/protocol.md` is enough: its examples are valid, and an agent in Python that was written from it alone works.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_core::message::BodyAnswer;
use muster_core::names::digest;
use muster_core::schema::Schema;
use muster_core::status::State;
use muster_testkit::{PATIENCE, Process, Signal, eventually};
use muster_tests::{System, put_token};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn protocol() -> String {
    std::fs::read_to_string(root().join("docs/protocol.md")).unwrap()
}

/// The examples: what stands behind `json` at the fence, and the document.
fn examples() -> Vec<(String, Value)> {
    let text = protocol();
    let blocks = text.split("\n```json").skip(1).map(|rest| rest.split_once('\n').unwrap());
    let read = |(name, rest): (&str, &str)| {
        let body = rest.split("\n```").next().unwrap();
        (name.trim().to_owned(), serde_json::from_str(body).unwrap_or_else(|e| panic!("{name}: {e}: {body}")))
    };
    blocks.map(read).collect()
}

fn example(name: &str) -> Value {
    examples().into_iter().find(|(of, _)| of == name).unwrap_or_else(|| panic!("no example '{name}'")).1
}

#[test]
fn every_example_is_valid_and_every_message_has_one() {
    let mut seen = BTreeSet::new();
    for (name, document) in examples() {
        if name.starts_with("request ") || name.starts_with("answer ") {
            continue; // compared with real ones below
        }
        if name == "content" {
            serde_json::from_value::<BodyAnswer>(document).unwrap();
            continue;
        }
        let schema = std::fs::read_to_string(root().join(format!("schemas/{name}.json")));
        let schema = Schema::compile(&schema.unwrap_or_else(|e| panic!("schemas/{name}.json: {e}"))).unwrap();
        assert_eq!(schema.problems(&document), [], "{name}: {document}");
        seen.insert(name);
    }
    let files = std::fs::read_dir(root().join("schemas")).unwrap().map(|file| file.unwrap().path());
    let named = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let no_messages = ["types", "agent-configuration", "server-settings", "active-response"].map(str::to_owned).into();
    let messages = &files.map(named).collect::<BTreeSet<_>>() - &no_messages;
    assert_eq!(&messages - &seen, BTreeSet::new(), "messages without an example");
}

#[test]
fn its_links_lead_somewhere() {
    let text = protocol();
    let targets = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    let missing: Vec<&str> = targets.filter(|target| !root().join("docs").join(target).exists()).collect();
    assert!(missing.is_empty() && text.contains("](../schemas/hello.json)"), "{missing:?}");
}

/// An interpreter with what the agent needs. None where there is no Python or no package index; there the tests are
/// passed over, unless `MUSTER_REQUIRE_DOCKER=1` says that nothing may be.
fn python() -> Result<Option<&'static Path>> {
    static PYTHON: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    match PYTHON.get_or_init(|| environment().map_err(|e| format!("{e:#}"))) {
        Ok(python) => Ok(Some(python)),
        Err(why) => {
            let required = std::env::var("MUSTER_REQUIRE_DOCKER").is_ok_and(|v| v == "1");
            ensure!(!required, "MUSTER_REQUIRE_DOCKER is 1, but {why}");
            eprintln!("foreign: the agent in Python is passed over, because {why}");
            Ok(None)
        }
    }
}

/// A virtual environment below the target directory, made once for each state of the requirements.
fn environment() -> Result<PathBuf> {
    let requirements = root().join("tests/foreign-agent/requirements.txt");
    let state = digest(&std::fs::read(&requirements)?);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{}", &state[..16]));
    let (python, complete) = (home.join("bin/python"), home.join("complete"));
    if complete.exists() && python.exists() {
        return Ok(python);
    }
    let run = |program: &Path, args: &[&str]| -> Result<()> {
        let out =
            Command::new(program).args(args).output().with_context(|| format!("{} is missing", program.display()))?;
        ensure!(out.status.success(), "{} {args:?} fails: {}", program.display(), String::from_utf8_lossy(&out.stderr));
        Ok(())
    };
    run(Path::new("python3"), &["-m", "venv", "--clear", &home.to_string_lossy()])?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    run(&python, &[&install[..], &[&requirements.to_string_lossy()]].concat())?;
    std::fs::write(complete, "")?;
    Ok(python)
}

fn agent(python: &Path, system: &System, home: &Path, name: &str, token: &str) -> Result<Process> {
    let mut command = Command::new(python);
    command.arg("-u").arg(root().join("tests/foreign-agent/agent.py"));
    command.arg("--root").arg(home).args(["--name", name]);
    command.env("NATS_URL", system.server.url()).env("MUSTER_TOKEN", token).env("PYTHONDONTWRITEBYTECODE", "1");
    Process::start(command)
}

/// The agent has these groups on its disk, with the contents of its record, and says so.
async fn has(system: &System, id: &str, home: &Path, groups: &[&str]) {
    eventually(&format!("{groups:?} on the disk of {id}"), PATIENCE, || async {
        let shown = system.ask("agent.get", &json!({ "agent": id })).await.map_err(|e| e.to_string())?;
        for group in groups {
            let file = std::fs::read(home.join(format!("groups/{group}.yml"))).map_err(|e| format!("{group}: {e}"))?;
            let lane = format!("config={group}");
            let (wanted, said) = (&shown["desired"]["lanes"][&lane]["digest"], &shown["reported"]["digests"][&lane]);
            if wanted != &json!(digest(&file)) || said != wanted {
                return Err(format!("{group}: {shown}"));
            }
        }
        let files = std::fs::read_dir(home.join("groups")).map_err(|e| e.to_string())?.count();
        if files == groups.len() { Ok(()) } else { Err(format!("{files} files")) }
    })
    .await;
}

/// Fields of a document, without the values.
fn fields(document: &Value) -> Value {
    match document {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), fields(value))).collect(),
        Value::Array(list) => list.iter().take(1).map(fields).collect(),
        _ => Value::Null,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_python_does_what_the_tasks_say() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let system = System::start().await?;
    let directory = tempfile::tempdir()?;
    let home = directory.path();
    let mut one = agent(python, &system, home, "web-1.example", &system.token)?;
    let id = system.enrolled("web-1.example").await;
    assert_eq!(id, example("enrolled")["id"]);

    // The tasks are those of the document.
    let (make, mut move_) = (example("group-configuration"), example("group-assignment"));
    let task = system.publish("group-configuration", &make).await?;
    assert_eq!(system.ended(&task).await.state, State::Succeeded);
    let moved = system.publish("group-assignment", &move_).await?;
    let done = system.ended(&moved).await;
    assert_eq!((done.state, done.counts.success, done.recipients), (State::Succeeded, 1, Some(1)));
    has(&system, &id, home, &["web"]).await;
    assert_eq!(std::fs::read_to_string(home.join("groups/web.yml"))?, make["args"]["content"].as_str().unwrap());

    // And so are the questions and the answers.
    let mut again = move_.clone();
    again.as_object_mut().unwrap().remove("id");
    let plan = system.ask("task.plan.group-assignment", &again).await?;
    assert_eq!(plan, example("answer task.plan.group-assignment"));
    for (name, question) in examples() {
        let Some(subject) = name.strip_prefix("request ") else { continue };
        let answer = system.ask(subject, &question).await?;
        assert!(answer["errors"].is_null(), "{subject}: {answer}");
        if let Some((_, documented)) = examples().into_iter().find(|(of, _)| *of == format!("answer {subject}")) {
            assert_eq!(fields(&answer), fields(&documented), "{subject}: {answer}");
        }
    }

    // Two changes while it is away, and one command when it comes back.
    one.signal(Signal::TERM)?;
    one.wait_exit(PATIENCE).await?;
    let change = |content: &str| json!({ "target": { "type": "group", "id": "web" }, "args": { "content": content } });
    let second = system.publish("group-configuration", &change("agent:\n  queue_size: 5000\n")).await?;
    let third = system.publish("group-configuration", &change("agent:\n  queue_size: 6000\n")).await?;
    assert_eq!(system.ended(&second).await.counts.superseded, 1);
    let one = agent(python, &system, home, "web-1.example", &system.token)?;
    assert_eq!(
        (system.ended(&third).await.counts.success, one.log().matches("command ").count()),
        (1, 1),
        "{}",
        one.log()
    );
    has(&system, &id, home, &["web"]).await;

    // More contents than fit into one message: it asks for those that did not come along. Then it leaves all groups.
    let groups = ["big1", "big2", "big3", "big.4"];
    for group in groups {
        let made = system.make_group(group, &format!("# {group}{}\n", "x".repeat(250_000))).await?;
        assert_eq!(made.state, State::Succeeded, "{made:?}");
    }
    move_["id"] = json!("move-8");
    move_["args"] = json!({ "operation": "replace", "groups": groups });
    let moved = system.publish("group-assignment", &move_).await?;
    assert_eq!(system.ended(&moved).await.counts.success, 1, "{}", one.log());
    has(&system, &id, home, &["big1", "big2", "big3", "big=2e4"]).await;
    assert_eq!(one.log().matches("asks for").count(), 1, "{}", one.log());
    move_["id"] = json!("move-9");
    move_["args"] = json!({ "operation": "replace", "groups": [] });
    let moved = system.publish("group-assignment", &move_).await?;
    assert_eq!(system.ended(&moved).await.counts.success, 1, "{}", one.log());
    has(&system, &id, home, &[]).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_in_python_does_not_know_it_says() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let system = System::start().await?;
    let directory = tempfile::tempdir()?;
    let one = agent(python, &system, directory.path(), "web-1.example", &system.token)?;
    system.enrolled("web-1.example").await;
    let commands = examples().into_iter().filter(|(name, _)| name == "command").map(|(_, command)| command);
    let mut edge = commands.into_iter().find(|command| command["sets"].is_null()).unwrap();
    edge["deliver_until"] = json!("2099-01-01T00:00:00Z");
    let subject = "commands.agent.001.run.t0-21";
    async_nats::jetstream::new(system.client.clone()).publish(subject, edge.to_string().into()).await?.await?;
    let stream = async_nats::jetstream::new(system.client.clone()).get_stream("RESULTS").await?;
    let stored = eventually("the result of an edge command", PATIENCE, || async {
        let message = stream.get_last_raw_message_by_subject("results.t0-21.001").await.ok()?;
        serde_json::from_slice::<Value>(&message.payload).ok()
    })
    .await;
    assert_eq!((&stored["status"], &stored["result"]["code"]), (&json!("failure"), &json!(2)), "{}", one.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_valid_lets_nobody_in_until_it_is() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let system = System::start().await?;
    let directory = tempfile::tempdir()?;
    let mut one = agent(python, &system, directory.path(), "web-1.example", "not-valid-yet")?;
    eventually("two refusals", PATIENCE, || async {
        let refusals = one.log().matches("does not let the agent in").count();
        if refusals >= 2 { Ok(()) } else { Err(one.log()) }
    })
    .await;
    let agents = system.ask("agent.list", &json!({})).await?;
    assert_eq!((agents["total"].as_u64(), one.is_running()?), (Some(0), true));
    put_token(&system.bus, "not-valid-yet", Duration::from_secs(3600)).await?;
    system.enrolled("web-1.example").await;
    Ok(())
}
