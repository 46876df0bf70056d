//! How somebody becomes an agent.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use muster_testkit::{NatsServer, PATIENCE, Process, eventually};
use muster_tests::{System, put_token};
use serde_json::Value;

use crate::support::{Somebody, agents, connect, gateway, mark_gone, ready};

const REFUSED: &str = "does not let this agent in";

async fn says(agent: &Process, text: &str) {
    eventually(&format!("the agent says '{text}'"), PATIENCE, || async {
        if agent.log().contains(text) { Ok(()) } else { Err(agent.log()) }
    })
    .await;
}

async fn identified(root: &Path) -> String {
    eventually("the agent is enrolled", PATIENCE, || async {
        let kept: Value = serde_json::from_slice(&std::fs::read(root.join("agent.json")).ok()?).ok()?;
        kept["id"].as_str().map(str::to_owned)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_one_agent_and_a_name_one_agents() -> Result<()> {
    let system = gateway().await?;
    let home = tempfile::tempdir()?;
    let root = home.path().join("a1");
    let mut agent = system.agent(&root, "web-1")?;
    let id = identified(&root).await;
    agent.kill()?;

    // It has forgotten its id, but not its key.
    std::fs::remove_file(root.join("agent.json"))?;
    let mut agent = system.agent(&root, "web-1")?;
    assert_eq!(identified(&root).await, id);
    agent.kill()?;
    // The same without a program, twice and under another name.
    let key = Somebody::of(&root)?;
    for name in ["web-1", "another"] {
        assert_eq!(key.enrol(&system, name).await?, Ok(id.clone()));
    }
    assert_eq!(agents(&system).await, 1);

    let other = home.path().join("a2");
    let mut agent = system.agent(&other, "web-1")?;
    assert!(!agent.wait_exit(PATIENCE).await?.success());
    assert!(agent.log().contains("another agent is called 'web-1'"), "{}", agent.log());

    // Once enrolled, it needs no token.
    let mut command = muster_testkit::binary("muster-agent")?;
    command.env("NATS_URL", system.server.url()).arg("--root").arg(&root).args(["--token-file", "nowhere"]);
    let agent = Process::start(command)?;
    says(&agent, "the agent starts").await;

    // The key of a deleted agent stays one.
    mark_gone(&system, &id, true).await?;
    assert_eq!(key.enrol(&system, "web-1").await?, Err("agent-deleted".to_owned()));
    assert_eq!(agents(&system).await, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_agents_in_until_it_expires_or_is_revoked() -> Result<()> {
    let system = gateway().await?;
    let muster = |arguments: &[&str]| -> Result<(bool, String)> {
        let output = system.muster()?.args(arguments).output()?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    };
    let (made, token) = muster(&["token", "create", "--name", "lab", "--expires", "1h"])?;
    let token = token.trim().to_owned();
    assert!(made && token.starts_with("mt_"), "{token}");
    assert!(!muster(&["token", "create", "--name", "lab"])?.0, "one name, one token");
    let (_, list) = muster(&["token", "list", "--output", "json"])?;
    assert!(list.contains("\"lab\"") && !list.contains(&token), "{list}");
    // Nor does the bucket hold it.
    let dump = system.ask("$JS.API.STREAM.INFO.KV_agents", &serde_json::json!({ "subjects_filter": ">" })).await?;
    assert!(!dump.to_string().contains(&token), "{dump}");

    Somebody::new().connect(&system, Some(&token)).await?;
    assert!(muster(&["token", "revoke", "lab"])?.0 && !muster(&["token", "revoke", "lab"])?.0);
    put_token(&system.bus, "short", Duration::from_secs(1)).await?;
    eventually("the token has expired", PATIENCE, || async {
        Somebody::new().connect(&system, Some("short")).await.is_err().then_some(())
    })
    .await;
    let long = "x".repeat(300);
    for bad in [token.as_str(), "short", "wrong", "*", "", &long] {
        assert!(Somebody::new().connect(&system, Some(bad)).await.is_err(), "{bad}");
    }
    // A token is no identity: who holds no key, or not the one that it shows, is not let in.
    let alone = async_nats::ConnectOptions::with_token(system.token.clone());
    assert!(connect(alone, &system.server.url()).await.is_err());
    assert_eq!(agents(&system).await, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_a_bad_token_goes_on_asking_and_one_without_says_what_is_missing() -> Result<()> {
    let system = gateway().await?;
    let home = tempfile::tempdir()?;
    let start = |root: &str, token: Option<&str>| {
        let mut command: Command = muster_testkit::binary("muster-agent")?;
        command.env("NATS_URL", system.server.url()).arg("--root").arg(home.path().join(root)).args(["--name", root]);
        command.env_remove("MUSTER_TOKEN").args(token.into_iter().flat_map(|token| ["--token", token]));
        Process::start(command)
    };
    let mut without = start("a0", None)?;
    assert!(!without.wait_exit(PATIENCE).await?.success());
    assert!(without.log().contains("muster token create"), "{}", without.log());

    let mut wrong = start("a1", Some("valid-later"))?;
    says(&wrong, REFUSED).await;
    assert!(wrong.is_running()?);
    assert_eq!(agents(&system).await, 0);
    // The refusal was of that moment: nothing was concluded from it.
    put_token(&system.bus, "valid-later", Duration::from_secs(3600)).await?;
    identified(&home.path().join("a1")).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_agents_stay_and_the_stock_cli_works_and_newcomers_come_in_later() -> Result<()> {
    let mut system = gateway().await?;
    let home = tempfile::tempdir()?;
    let (client, mut events) = {
        let (_, client, events) = Somebody::new().become_agent(&system, "web-1").await?;
        (client, events)
    };
    system.kill("comms-api")?;
    let late = system.agent(&home.path().join("late"), "late")?;
    says(&late, REFUSED).await;
    stock_cli(&system.server)?;

    system.run("comms-api", &[])?;
    identified(&home.path().join("late")).await;
    ready(&system, 2).await;
    stock_cli(&system.server)?;
    // The first one never lost its connection, and is answered.
    assert!(events.try_recv().is_err());
    let answer = client.request("agent.001.sync", r#"{"ledger":"l"}"#.into()).await?;
    assert!(std::str::from_utf8(&answer.payload)?.contains("sync_after"), "{answer:?}");
    Ok(())
}

/// The stock CLI as somebody types it who knows of no credentials.
fn stock_cli(server: &NatsServer) -> Result<()> {
    let fetched = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/bin/nats"));
    let program = if fetched.is_file() { fetched } else { Path::new("nats") };
    let mut command = Command::new(program);
    command.args(["--server", &server.url(), "stream", "ls", "--names"]);
    for variable in ["NATS_CREDS", "NATS_NKEY", "NATS_USER", "NATS_PASSWORD", "NATS_CONTEXT"] {
        command.env_remove(variable);
    }
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(String::from_utf8(output.stdout)?.contains("TASKS"));
        }
        Err(error) => eprintln!("the stock CLI is not tried: {error} (deploy/get-nats-cli)"),
    }
    Ok(())
}

/// On a server that others can reach, nobody is somebody without a key.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_control_without_its_key() -> Result<()> {
    use async_nats::{Auth, ConnectOptions};
    let system = gateway().await?;
    let closed = NatsServer::closed().await?;
    let control = system.server.keys().pair(muster_keys::Key::Control)?.public_key();
    let closed_control = closed.keys().pair(muster_keys::Key::Control)?.public_key();
    // Without a proof, or with one by another key.
    let show = |nkey: String, prove: bool| {
        ConnectOptions::with_auth_callback(move |nonce| {
            let mut auth = Auth::new();
            auth.nkey = Some(nkey.clone());
            auth.signature = prove.then(|| nkeys::KeyPair::new_user().sign(&nonce).unwrap());
            async { Ok(auth) }
        })
    };
    for (server, control) in [(&system.server, &control), (&closed, &closed_control)] {
        for (what, options) in [
            ("a bare user", ConnectOptions::with_user_and_password("control".into(), String::new())),
            ("a user", ConnectOptions::with_user_and_password("control".into(), "loopback".into())),
            ("a user by its key", ConnectOptions::with_user_and_password(control.clone(), String::new())),
            ("a token", ConnectOptions::with_token("loopback".into())),
            ("a bare key", show(Somebody::new().nkey(), false)),
            ("the bare key of control", show(control.clone(), false)),
            ("the key of control with another's proof", show(control.clone(), true)),
            ("somebody's key with another's proof", show(Somebody::new().nkey(), true)),
            ("a key that is no agent's", Somebody::new().options(None)),
        ] {
            assert!(connect(options, &server.url()).await.is_err(), "{what}");
        }
    }
    // Only here: where the stock CLI needs no credentials, a JWT, which the server does not look at, is none.
    let jwt = ConnectOptions::with_jwt("e30.e30.e30".into(), |_| async { Ok(vec![0; 64]) });
    for (what, options) in [("nothing", ConnectOptions::new()), ("a bare JWT", jwt)] {
        assert!(connect(options, &closed.url()).await.is_err(), "{what}");
    }
    assert!(connect(closed.options("fleet")?, &closed.url()).await.is_err(), "a closed server has no user for a fleet");
    closed.control().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_enrol_at_once() -> Result<()> {
    const COUNT: u32 = 3_000;
    let mut system = System::empty().await?;
    system.run("comms-api", &[])?;
    system.run("task-manager", &[])?;
    let _fleet = system.fleet(COUNT).await?;
    assert_eq!(agents(&system).await, COUNT as usize);
    Ok(())
}
