#![allow(clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::*;

fn settings(localfiles: &[PathBuf]) -> Logcollector {
    Logcollector {
        enabled: true,
        localfiles: localfiles.iter().map(|path| path.to_str().unwrap().to_owned()).collect(),
        read_interval: Duration::from_millis(10),
        reload_interval: Duration::from_millis(100),
    }
}

/// The lines in the spool of what was at `location`.
fn spooled(root: &Path, location: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(spool::path(root)).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_location = entries.filter(|entry| entry["location"] == location.to_str().unwrap());
    of_location.map(|entry| entry["line"].as_str().unwrap().to_owned()).collect()
}

/// Appends numbered lines, in pieces that do not end where lines end, until told to stop; returns how many.
fn write_lines(path: &Path, stop: &AtomicBool) -> usize {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let text: String = (count..count + 20).map(|n| format!("line {n}\n")).collect();
        let (first, second) = text.split_at(text.len() / 2);
        file.write_all(first.as_bytes()).unwrap();
        file.write_all(second.as_bytes()).unwrap();
        count += 20;
        std::thread::sleep(Duration::from_micros(200));
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_throughout_reloads_each_line_is_there_once() {
    let directory = tempfile::tempdir().unwrap();
    let (kept, other) = (directory.path().join("kept.log"), directory.path().join("other.log"));
    let collector = LogCollector::start(directory.path()).unwrap();
    collector.apply(settings(std::slice::from_ref(&kept))).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (kept, stop) = (kept.clone(), stop.clone());
        move || write_lines(&kept, &stop)
    });
    for reload in 0..100 {
        let both = [kept.clone(), other.clone()];
        let loaded = collector.apply(settings(if reload % 2 == 0 { &both } else { &both[..1] })).await.unwrap();
        assert_eq!(loaded.localfiles.len(), 2 - reload % 2);
    }
    stop.store(true, Ordering::Relaxed);
    let count = writer.join().unwrap();
    collector.stop().await;
    let expected: Vec<_> = (0..count).map(|n| format!("line {n}")).collect();
    assert!(count > 0);
    assert!(spooled(directory.path(), &kept) == expected, "of {count} lines some are lost, doubled or out of order");
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_throughout_restarts_each_line_is_there_once() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    let stop = Arc::new(AtomicBool::new(false));
    let first = LogCollector::start(directory.path()).unwrap();
    first.apply(settings(std::slice::from_ref(&log))).await.unwrap();
    first.stop().await;
    let writer = std::thread::spawn({
        let (log, stop) = (log.clone(), stop.clone());
        move || write_lines(&log, &stop)
    });
    for restart in 0..20 {
        let collector = LogCollector::start(directory.path()).unwrap();
        collector.apply(settings(std::slice::from_ref(&log))).await.unwrap();
        if restart % 2 == 0 {
            collector.stop().await;
        } else {
            // Dropped as it stands; the end of its task is awaited so that two do not write to one spool.
            drop(collector.commands);
            collector.task.await.unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let count = writer.join().unwrap();
    let last = LogCollector::start(directory.path()).unwrap();
    last.apply(settings(std::slice::from_ref(&log))).await.unwrap();
    last.stop().await;
    let expected: Vec<_> = (0..count).map(|n| format!("line {n}")).collect();
    assert!(spooled(directory.path(), &log) == expected, "of {count} lines some are lost, doubled or out of order");
}

#[tokio::test]
async fn it_reads_by_itself_and_an_ended_one_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    let collector = LogCollector::start(directory.path()).unwrap();
    collector.apply(settings(std::slice::from_ref(&log))).await.unwrap();
    std::fs::write(&log, "seen\n").unwrap();
    while spooled(directory.path(), &log).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(spooled(directory.path(), &log), ["seen"]);
    collector.task.abort();
    while !collector.task.is_finished() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(collector.apply(settings(&[log])).await, Err(Error::Ended)));
}
