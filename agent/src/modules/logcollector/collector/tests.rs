#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::lines::MAX_LINE;
use super::*;

/// An agent's root and a directory of logs, with a collector that waits for nothing.
struct Bench {
    directory: TempDir,
    collector: Collector,
}

fn open(directory: &TempDir) -> Collector {
    Collector { grace: Duration::ZERO, ..Collector::open(&directory.path().join("root")).unwrap() }
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let collector = open(&directory);
        Self { directory, collector }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn apply(&mut self, names: &[&str]) -> Loaded {
        let localfiles = names.iter().map(|name| self.path(name).to_str().unwrap().to_owned()).collect();
        let reload_interval = Duration::ZERO;
        let settings =
            Logcollector { enabled: true, localfiles, read_interval: Duration::from_millis(10), reload_interval };
        self.collector.apply(settings).unwrap()
    }

    /// As after a kill: what is not on disk is forgotten.
    fn restart(&mut self) {
        self.collector = open(&self.directory);
    }

    fn spooled(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("root/spool/logcollector.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines in the spool, after all that is there has been read.
    fn lines(&mut self) -> Vec<String> {
        self.collector.drain();
        self.spooled().iter().map(|entry| entry["line"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn from_the_end_of_what_is_there_and_the_beginning_of_what_appears() {
    let mut bench = Bench::new();
    bench.append("old.log", "before\nhalf");
    let loaded = bench.apply(&["old.log", "new.log"]);
    assert_eq!(loaded.files.len(), 1);
    bench.append("old.log", " and half\n");
    bench.append("new.log", "first\n");
    assert_eq!(bench.lines(), ["half and half", "first"]);
    assert_eq!(bench.spooled()[1], json!({"location": bench.path("new.log"), "line": "first"}));
}

#[test]
fn a_removed_location_is_forgotten_after_it_was_read() {
    let mut bench = Bench::new();
    bench.apply(&["a.log", "b.log"]);
    bench.append("a.log", "a1\n");
    bench.append("b.log", "b1\n");
    assert_eq!(bench.apply(&["b.log"]).files, [bench.path("b.log").to_str().unwrap()]);
    bench.append("a.log", "a2\n");
    bench.append("b.log", "b2\n");
    assert_eq!(bench.lines(), ["a1", "b1", "b2"]);
    bench.apply(&["a.log", "b.log"]);
    bench.append("a.log", "a3\n");
    assert_eq!(bench.lines(), ["a1", "b1", "b2", "a3"], "named again, it is new");
}

#[test]
fn a_disabled_section_follows_nothing() {
    let mut bench = Bench::new();
    bench.apply(&["a.log"]);
    let settings = Logcollector { enabled: false, ..bench.collector.settings.clone().unwrap() };
    let loaded = bench.collector.apply(settings).unwrap();
    assert!(!loaded.enabled && loaded.localfiles.is_empty() && loaded.files.is_empty());
    bench.append("a.log", "unseen\n");
    assert!(bench.lines().is_empty());
}

#[test]
fn renamed_and_made_anew() {
    let mut bench = Bench::new();
    bench.apply(&["a.log"]);
    bench.append("a.log", "1\n");
    assert_eq!(bench.lines(), ["1"]);
    bench.append("a.log", "2\n");
    fs::rename(bench.path("a.log"), bench.path("a.log.1")).unwrap();
    bench.append("a.log.1", "3\n");
    assert_eq!(bench.lines(), ["1", "2", "3"], "the writer may still have it open");
    bench.append("a.log", "4\n");
    bench.append("a.log.1", "5 without an end");
    assert_eq!(bench.lines(), ["1", "2", "3", "5 without an end", "4"]);
    bench.collector.drain();
    assert_eq!(bench.collector.open.len(), 1, "the old one is closed");
}

#[test]
fn deleted_and_made_anew_or_not() {
    let mut bench = Bench::new();
    bench.apply(&["a.log"]);
    bench.append("a.log", "1\n");
    assert_eq!(bench.lines(), ["1"]);
    bench.append("a.log", "2\n");
    fs::remove_file(bench.path("a.log")).unwrap();
    assert_eq!(bench.lines(), ["1", "2"]);
    assert!(bench.collector.open.is_empty());
    bench.append("a.log", "3\n");
    assert_eq!(bench.lines(), ["1", "2", "3"]);
}

#[test]
fn cut_off_or_rewritten() {
    let mut bench = Bench::new();
    bench.apply(&["a.log"]);
    bench.append("a.log", "one\ntwo\n");
    bench.collector.drain();
    fs::write(bench.path("a.log"), "3\n").unwrap();
    bench.collector.drain();
    fs::write(bench.path("a.log"), "longer than what was there\n").unwrap();
    assert_eq!(bench.lines(), ["one", "two", "3", "longer than what was there"]);
}

#[test]
fn a_file_under_two_names_is_read_once() {
    let mut bench = Bench::new();
    bench.apply(&["a.log*", "link.log"]);
    bench.append("a.log", "1\n");
    std::os::unix::fs::symlink(bench.path("a.log"), bench.path("link.log")).unwrap();
    assert_eq!(bench.lines(), ["1"]);
    fs::rename(bench.path("a.log"), bench.path("a.log.1")).unwrap();
    bench.append("a.log", "2\n");
    bench.append("a.log.1", "3\n");
    let mut lines = bench.lines();
    lines.sort();
    assert_eq!(lines, ["1", "2", "3"], "the rotated file has the name of the wildcard now");
    bench.apply(&["link.log"]);
    bench.append("a.log", "4\n");
    assert_eq!(bench.lines().last().unwrap(), "4", "followed on through its other name");
    assert_eq!(bench.lines().len(), 4);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut bench = Bench::new();
    bench.append("a.log", "before\n");
    bench.apply(&["*.log"]);
    bench.append("a.log", "1\nhal");
    assert_eq!(bench.lines(), ["1"]);
    bench.append("a.log", "f\n");
    bench.append("b.log", "appeared meanwhile\n");
    bench.restart();
    bench.apply(&["*.log"]);
    assert_eq!(bench.lines(), ["1", "half", "appeared meanwhile"]);
}

#[test]
fn rotated_while_the_agent_was_away() {
    let mut bench = Bench::new();
    bench.apply(&["a.log"]);
    bench.append("a.log", "1\n");
    assert_eq!(bench.lines(), ["1"]);
    bench.append("a.log", "2\n");
    fs::rename(bench.path("a.log"), bench.path("a.log.1")).unwrap();
    bench.append("a.log", "3\n");
    bench.restart();
    bench.apply(&["a.log"]);
    assert_eq!(bench.lines(), ["1", "2", "3"]);
}

#[test]
fn another_file_with_the_same_inode_is_another_file() {
    let mut bench = Bench::new();
    bench.apply(&["a.log"]);
    bench.append("a.log", "1\n");
    bench.collector.drain();
    bench.restart();
    fs::write(bench.path("a.log"), "written over, same inode\n").unwrap();
    bench.restart();
    bench.apply(&["a.log"]);
    assert_eq!(bench.lines(), ["1", "written over, same inode"]);
}

#[test]
fn killed_between_the_spool_and_the_state() {
    let mut bench = Bench::new();
    bench.apply(&["a.log"]);
    bench.append("a.log", "1\n");
    assert_eq!(bench.lines(), ["1"]);
    let state = fs::read(bench.path("root/logcollector.json")).unwrap();
    bench.append("a.log", "2\n3\n");
    assert_eq!(bench.lines(), ["1", "2", "3"]);
    fs::write(bench.path("root/logcollector.json"), state).unwrap();
    bench.restart();
    assert_eq!(bench.spooled().len(), 1, "what was not confirmed does not count");
    bench.apply(&["a.log"]);
    assert_eq!(bench.lines(), ["1", "2", "3"]);
}

#[test]
fn a_spool_that_was_taken_away_begins_anew() {
    let mut bench = Bench::new();
    bench.apply(&["a.log"]);
    bench.append("a.log", "1\n2\n3\n");
    assert_eq!(bench.lines().len(), 3);
    fs::write(bench.path("root/spool/logcollector.jsonl"), "").unwrap();
    bench.restart();
    bench.append("root/spool/logcollector.jsonl", "{\"not\":\"confirmed\"}\n");
    bench.restart();
    assert!(bench.spooled().is_empty());
    bench.apply(&["a.log"]);
    bench.append("a.log", "4\n");
    assert_eq!(bench.lines(), ["4"]);
}

#[test]
fn lines_wait_while_the_state_cannot_be_written() {
    let mut bench = Bench::new();
    bench.apply(&["a.log"]);
    bench.append("a.log", "1\n");
    // A directory where the next state would be written: it cannot be created.
    fs::create_dir(bench.path("root/logcollector.json.new")).unwrap();
    assert!(bench.lines().is_empty());
    assert!(bench.collector.fault.is_some());
    let more = Logcollector { localfiles: vec!["/other".into()], ..bench.collector.settings.clone().unwrap() };
    assert!(bench.collector.apply(more).is_err(), "and the old settings stay in force");
    fs::remove_dir(bench.path("root/logcollector.json.new")).unwrap();
    bench.append("a.log", "2\n");
    assert_eq!(bench.lines(), ["1", "2"]);
    assert!(bench.collector.fault.is_none());
}

#[test]
fn a_state_that_is_not_ours_is_put_aside() {
    let mut bench = Bench::new();
    fs::write(bench.path("root/logcollector.json"), "{").unwrap();
    bench.restart();
    bench.apply(&["a.log"]);
    bench.append("a.log", "1\n");
    assert_eq!(bench.lines(), ["1"]);
    assert!(bench.path("root/logcollector.json.bad").exists());
}

#[test]
fn long_lines_and_bytes_that_are_no_text() {
    let mut bench = Bench::new();
    bench.apply(&["a.log"]);
    let long = "x".repeat(10 * MAX_LINE);
    bench.append("a.log", &long);
    bench.collector.drain();
    bench.restart();
    bench.apply(&["a.log"]);
    bench.append("a.log", "rest of it\n\"quoted\"\n");
    fs::OpenOptions::new().append(true).open(bench.path("a.log")).unwrap().write_all(b"\xff\n").unwrap();
    assert_eq!(bench.lines(), [&"x".repeat(MAX_LINE), "\"quoted\"", "\u{fffd}"]);
    assert_eq!(bench.spooled()[0]["truncated"], true);
    assert_eq!(bench.spooled()[1].get("truncated"), None);
}

#[test]
fn what_is_no_file_is_left_alone() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path("directory.log")).unwrap();
    assert!(bench.apply(&["directory.log", "absent.log"]).files.is_empty());
    assert!(bench.lines().is_empty());
}

#[test]
fn more_than_one_batch() {
    let mut bench = Bench::new();
    bench.apply(&["*.log"]);
    let text: String = (0..30_000).map(|n| format!("line {n}\n")).collect();
    for name in 0..9 {
        bench.append(&format!("{name}.log"), &text);
    }
    let lines = bench.lines();
    assert_eq!(lines.len(), 9 * 30_000);
    let of_one: Vec<_> = bench.spooled().into_iter().filter(|e| e["location"] == json!(bench.path("3.log"))).collect();
    assert!(of_one.iter().enumerate().all(|(n, entry)| entry["line"] == format!("line {n}")));
}
