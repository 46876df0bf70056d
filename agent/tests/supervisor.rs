//! The supervisor with real processes and without a server: the agent proper waits for one, and the versions that are
//! tried are scripts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use muster_agent::rules::Single;
use muster_agent::upgrade::{Phase, Places, Switch};
use muster_core::lane::Lane;
use muster_core::record::Entry;
use muster_core::stamp::Stamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long something that must happen is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const AGENT: &str = env!("CARGO_BIN_EXE_muster-agent");
/// What the agent proper has in its environment.
const SUPERVISED: &[u8] = b"MUSTER_AGENT_SUPERVISOR=";

/// Looks until there is something to see.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match look() {
            Some(seen) => return seen,
            None if Instant::now() > until => panic!("waited for: {what}"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The program that a process runs; none when it has ended.
fn program(process: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{}/exe", process.as_raw_nonzero())).ok()
}

/// A supervisor, ended with the test.
struct Supervisor(Child);

impl Supervisor {
    fn start(root: &Path) -> Self {
        let mut command = Command::new(AGENT);
        // Nobody listens there.
        command.args(["--url", "nats://127.0.0.1:1", "--token", "t", "--root"]).arg(root);
        command.env("MUSTER_UPGRADE_PROOF", "2").env("RUST_LOG", "error").stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// The agent's process, once there is one that runs such a program.
    fn agent(&self, wanted: impl Fn(&Path) -> bool) -> Pid {
        let id = self.0.id();
        eventually("the agent's process", || {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
            let child = Pid::from_raw(children.split_whitespace().next()?.parse().unwrap()).unwrap();
            // Between fork and exec it is the supervisor's program, but not in this environment.
            let environment = fs::read(format!("/proc/{}/environ", child.as_raw_nonzero())).ok()?;
            let started = environment.windows(SUPERVISED.len()).any(|part| part == SUPERVISED);
            (started && program(child).is_some_and(|program| wanted(&program))).then_some(child)
        })
    }

    fn ended(&mut self) -> ExitStatus {
        eventually("the supervisor's end", || self.0.try_wait().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = kill_process(self.pid(), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// A root in which version 9.9.9 is staged: this script, where ROOT stands for the root.
fn staged(script: &str) -> (tempfile::TempDir, Places) {
    let home = tempfile::tempdir().unwrap();
    let places = Places::open(home.path()).unwrap();
    let part = places.part("p");
    fs::write(&part, script.replace("ROOT", home.path().to_str().unwrap())).unwrap();
    places.place(&part, "9.9.9").unwrap();
    let entry = Entry {
        version: Stamp::new(0, 3),
        order: Stamp::new(0, 7),
        task: "t0-7".into(),
        digest: Some("d".into()),
        revision: None,
    };
    let single = Single { lane: Lane::of(Lane::VERSION), entry, args: Value::Null, timeout: 3600 };
    let switch = Switch { from: "0.1.0".into(), to: "9.9.9".into(), sha256: "s".into(), single, phase: Phase::Staged };
    places.remember(&switch).unwrap();
    (home, places)
}

/// Why the version that was staged has failed, once it has.
fn why(places: &Places) -> String {
    eventually("the failure", || match places.switch().unwrap().map(|switch| switch.phase) {
        Some(Phase::Failed(why)) => Some(why),
        _ => None,
    })
}

fn is_installed(program: &Path) -> bool {
    program == Path::new(AGENT)
}

#[test]
fn a_version_that_ends_or_is_no_program_or_is_silent_gives_way_to_the_old_one() {
    let cases = [
        ("#!/bin/sh\nexit 3\n", "exit status: 3"),
        ("#!/bin/sh\nkill -9 $$\n", "signal: 9"),
        ("no program", "muster-agent: "),
        ("#!/bin/sh\nexec sleep 1000\n", "not answered within 2 s"),
        ("#!/bin/sh\ntrap '' TERM\nwhile true; do sleep 1; done\n", "not answered within 2 s"),
    ];
    for (script, expected) in cases {
        let (home, places) = staged(script);
        let supervisor = Supervisor::start(home.path());
        let said = why(&places);
        assert!(said.contains(expected), "{script}: {said}");
        supervisor.agent(is_installed);
        assert_eq!(places.in_force().unwrap(), None);
        // The new one is not tried again.
        drop(supervisor);
        let supervisor = Supervisor::start(home.path());
        supervisor.agent(is_installed);
        assert_eq!(why(&places), said);
    }
}

/// As an agent does whose hello was answered.
const PROVEN: &str = "#!/bin/sh\ncd ROOT/upgrade\nsed 's/\"tried\"/\"proven\"/' switch.json >new && mv new switch.json\n\
    exec sleep 1000\n";

#[test]
fn a_version_that_has_proven_itself_stays_also_when_all_is_killed() {
    let (home, places) = staged(PROVEN);
    let is_new = |program: &Path| program.ends_with("sleep");
    let mut supervisor = Supervisor::start(home.path());
    let agent = supervisor.agent(is_new);
    assert_eq!(places.switch().unwrap().unwrap().phase, Phase::Proven);
    // Longer than a trial may take.
    std::thread::sleep(Duration::from_secs(3));
    assert!(program(agent).is_some(), "it runs on");
    supervisor.kill();
    kill_process(agent, Signal::KILL).unwrap();
    let supervisor = Supervisor::start(home.path());
    supervisor.agent(is_new);
    assert_eq!(places.switch().unwrap().unwrap().phase, Phase::Proven);
}

#[test]
fn a_trial_that_is_cut_short_is_not_begun_again() {
    let (home, places) = staged("#!/bin/sh\nexec sleep 1000\n");
    let mut supervisor = Supervisor::start(home.path());
    supervisor.agent(|program| program.ends_with("sleep"));
    kill_process(supervisor.pid(), Signal::TERM).unwrap();
    supervisor.ended();
    assert_eq!(places.switch().unwrap().unwrap().phase, Phase::Tried);
    let supervisor = Supervisor::start(home.path());
    assert!(why(&places).contains("was stopped before its hello was answered"));
    supervisor.agent(is_installed);
}

#[test]
fn an_agent_and_its_supervisor_live_and_die_together() {
    let home = tempfile::tempdir().unwrap();
    let ready = || eventually("the agent", || fs::metadata(home.path().join("ledger.redb")).ok());
    let mut supervisor = Supervisor::start(home.path());
    let agent = supervisor.agent(is_installed);
    ready();
    // A second one is kept out.
    let mut second = Supervisor::start(home.path());
    assert!(!second.ended().success());
    assert!(program(agent).is_some());
    // Killed without a word: the agent does not outlive it, and the next one takes over.
    supervisor.kill();
    eventually("the agent's end", || program(agent).is_none().then_some(()));
    let mut supervisor = Supervisor::start(home.path());
    let agent = supervisor.agent(is_installed);
    kill_process(agent, Signal::KILL).unwrap();
    assert_eq!(supervisor.ended().code(), Some(128 + 9), "who started it learns how the agent ended");
    let mut supervisor = Supervisor::start(home.path());
    supervisor.agent(is_installed);
    kill_process(supervisor.pid(), Signal::TERM).unwrap();
    supervisor.ended();
}
