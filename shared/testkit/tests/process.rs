//! Processes that tests kill, stop and wake; and waiting.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{process::Command, time::Duration};

use anyhow::Result;
use muster_testkit::{PATIENCE, Process, Signal, binary, eventually};

/// Counts upwards for ever, and says goodbye when it is asked to end.
fn counter() -> Result<Process> {
    let script = "trap 'echo goodbye; exit 3' TERM; n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done";
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::start(command)
}

async fn grows(process: &Process) {
    let seen = process.log().len();
    eventually("the log grows", PATIENCE, async || (process.log().len() > seen).then_some(())).await;
}

#[tokio::test]
async fn a_stopped_process_stands_still_and_goes_on_when_woken() -> Result<()> {
    let mut process = counter()?;
    grows(&process).await;
    process.signal(Signal::STOP)?;
    let stat = format!("/proc/{}/stat", process.id());
    eventually("it is stopped", PATIENCE, async || {
        let stat = std::fs::read_to_string(&stat).map_err(|e| e.to_string())?;
        stat.contains(") T ").then_some(()).ok_or(stat)
    })
    .await;
    let before = process.log();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(process.log(), before);
    assert!(process.is_running()?);
    process.signal(Signal::CONT)?;
    grows(&process).await;
    Ok(())
}

#[tokio::test]
async fn a_process_that_is_asked_to_end_ends_its_own_way() -> Result<()> {
    let mut process = counter()?;
    grows(&process).await;
    process.signal(Signal::TERM)?;
    assert_eq!(process.wait_exit(PATIENCE).await?.code(), Some(3));
    assert!(process.log().ends_with("goodbye\n"));
    assert!(process.signal(Signal::TERM).is_err(), "it has ended");
    Ok(())
}

#[tokio::test]
async fn a_killed_process_and_a_dropped_one_are_gone() -> Result<()> {
    let mut killed = counter()?;
    grows(&killed).await;
    killed.kill()?;
    assert!(!killed.is_running()?);
    assert!(!killed.log().contains("goodbye"));
    killed.kill()?;

    let dropped = counter()?;
    let id = dropped.id();
    drop(dropped);
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    Ok(())
}

#[test]
fn a_program_that_is_not_built_is_named() {
    let error = binary("no-such-program").unwrap_err().to_string();
    assert!(error.contains("no-such-program is not there"), "{error}");
}

#[tokio::test]
#[should_panic(expected = "for: the moon; last seen: \"a cloud\"")]
async fn waiting_in_vain_tells_what_was_seen() {
    let look = async || Err::<(), _>("a cloud");
    eventually("the moon", Duration::from_millis(200), look).await;
}

#[tokio::test]
#[should_panic(expected = "for: an answer; last seen: nothing")]
async fn a_look_that_hangs_is_given_up() {
    let look = std::future::pending::<Option<()>>;
    eventually("an answer", Duration::from_millis(200), look).await;
}
