//! Rules on the machine itself.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use muster_sca::{Linux, Options, Outcome, Policy, System, scan};
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);

/// The result of a rule, with the reason when there is one.
fn judge(rule: &str, command: Duration) -> (Outcome, String) {
    let policy = json!({
        "policy": { "id": "p", "name": "P" },
        "checks": [{ "id": 1, "title": "T", "condition": "all", "rules": [rule] }],
    });
    let policy = Policy::parse(&policy.to_string()).unwrap();
    let mut report = scan(&policy, &Linux::new(command), Options { commands: true, ..Options::default() });
    let check = report.checks.remove(0);
    (check.result, check.reason.unwrap_or_default())
}

fn holds(rule: &str) {
    assert_eq!(judge(rule, MINUTE), (Outcome::Passed, String::new()), "{rule}");
}

fn fails(rule: &str) {
    assert_eq!(judge(rule, MINUTE), (Outcome::Failed, String::new()), "{rule}");
}

fn unknown(rule: &str, why: &str) {
    let (outcome, reason) = judge(rule, MINUTE);
    assert_eq!(outcome, Outcome::NotApplicable, "{rule}");
    assert!(reason.contains(why), "{rule}: {reason}");
}

#[test]
fn files_and_directories() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    fs::create_dir_all(folder.path().join("sub/deep")).unwrap();
    fs::write(folder.path().join("sub/deep/x.conf"), b"caf\xc3\xa9 \xff\xfe\nkey = 7\n").unwrap();
    symlink("sub/deep/x.conf", folder.path().join("link.conf")).unwrap();
    symlink(folder.path(), folder.path().join("sub/loop")).unwrap();
    symlink("nothing", folder.path().join("dangling")).unwrap();
    holds(&format!("f:{at}/link.conf -> n:key = (\\d) compare == 7"));
    holds(&format!("f:{at}/sub/deep/x.conf"));
    fails(&format!("f:{at}/dangling"));
    unknown(&format!("not f:{at}/dangling -> r:x"), "it is not there");
    unknown(&format!("f:{at}/sub"), "no regular file");
    unknown(&format!("f:{at}/link.conf/x"), "Not a directory");
    holds(&format!("d:{at}/sub -> x.conf -> r:^key"));
    fails(&format!("d:{at}/sub -> r:nothing -> r:^key"));
    holds("f:/proc/sys/kernel/ostype -> r:^Linux$");
    unknown("f:/dev/null -> r:x", "no regular file");
}

#[test]
fn what_is_not_regular_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    unknown(&format!("f:{} -> r:x", pipe.display()), "no regular file");
    unknown(&format!("d:{} -> pipe -> r:x", folder.path().display()), "no regular file");
}

#[test]
fn a_long_file_decides_only_by_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long");
    fs::write(&path, [b"first\n".repeat(1_000_000), b"last\n".to_vec()].concat()).unwrap();
    let path = path.display();
    holds(&format!("f:{path} -> r:^first$"));
    unknown(&format!("f:{path} -> r:^last$"), "longer than what is read");
    unknown(&format!("f:{path} -> !r:^last$"), "longer than what is read");
}

#[test]
fn commands() {
    holds("c:sh -c \"echo out; echo err >&2; exit 3\" -> r:^err");
    holds("c:sh -c \"echo out; echo err >&2; exit 3\" -> r:^out");
    holds("c:printf %s|%s a \"b c\" -> a|b c");
    holds("c:true");
    holds("c:false");
    holds("c:cat -> !r:x");
    holds("c:pwd -> /");
    holds("c:env -> LC_ALL=C");
    unknown("not c:no-such-program-anywhere -> r:x", "cannot be started");
    unknown("not c:sh -c no-such-program-anywhere -> r:^x", "code 127");
    unknown("not c:sh -c \"kill -9 $$\" -> r:x", "signal 9");
    unknown("not c:/etc -> r:x", "cannot be started");
}

#[test]
fn a_command_that_writes_without_end_is_cut() {
    holds("c:yes -> r:^y$");
    unknown("c:yes -> r:^n$", "longer than what is read");
}

/// Whether a process with this word in its command line runs, other than a zombie.
fn runs(word: &str) -> bool {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).any(|line| line.contains(word))
}

#[test]
fn a_command_that_does_not_end_is_killed_with_all_it_started() {
    let seconds = format!("70{:05}", std::process::id() % 100_000);
    let (outcome, reason) =
        judge(&format!("c:sh -c \"sleep {seconds} & sleep {seconds}\" -> !r:x"), Duration::from_millis(300));
    assert_eq!(outcome, Outcome::NotApplicable);
    assert!(reason.contains("did not end within"), "{reason}");
    let gone = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !runs(&seconds)
    });
    assert!(gone, "sleep {seconds} still runs");
}

#[test]
fn what_a_command_leaves_behind_is_not_waited_for() {
    let seconds = format!("71{:05}", std::process::id() % 100_000);
    holds(&format!("c:sh -c \"sleep {seconds} & echo done\" -> done"));
    let gone = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !runs(&seconds)
    });
    assert!(gone, "sleep {seconds} still runs");
}

#[test]
fn processes() {
    let program = std::env::current_exe().unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    let names = Linux::default().processes().unwrap();
    assert!(names.iter().any(|one| one == name) && names.iter().any(|one| Path::new(one) == program), "{names:?}");
    holds(&format!("p:{name}"));
    fails("p:no-such-process-anywhere");
    holds("not p:no-such-process-anywhere");
}
