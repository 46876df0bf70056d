//! Processes that outlived what they were started for: those of an agent that was killed, and those that left the
//! group of a program that was killed. They are known by a mark in their environment.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// The variable with the mark.
pub(super) const MARK: &str = "MUSTER_ACTIVE_RESPONSE";
/// An environment is looked at up to this many bytes. Ours is the shorter one by far, and what a program adds to it
/// stands behind or before it as it likes.
const MAX_ENVIRONMENT: u64 = 256 * 1024;
/// A process may fork while we look, so we look until none is there, so often at most.
const ROUNDS: u32 = 50;

/// Kills all processes that bear one of these marks, and waits until they are gone, for half a second at most. Returns
/// how many were killed. It blocks.
pub(crate) fn end(marks: &[String]) -> usize {
    let mut killed = std::collections::BTreeSet::new();
    for _ in 0..ROUNDS {
        let found: Vec<Pid> = if marks.is_empty() { Vec::new() } else { processes(marks) };
        if found.is_empty() {
            break;
        }
        for process in found {
            if kill(process, marks) {
                killed.insert(process.as_raw_nonzero());
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    killed.len()
}

fn processes(marks: &[String]) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw);
    ids.filter(|id| bears(*id, marks)).collect()
}

fn bears(process: Pid, marks: &[String]) -> bool {
    let mut environment = Vec::new();
    let path = format!("/proc/{}/environ", process.as_raw_nonzero());
    let read = File::open(Path::new(&path)).and_then(|f| f.take(MAX_ENVIRONMENT).read_to_end(&mut environment));
    // What cannot be read belongs to somebody else, or is gone.
    read.is_ok()
        && environment.split(|b| *b == 0).any(|variable| {
            let value = variable.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            value.is_some_and(|value| marks.iter().any(|mark| mark.as_bytes() == value))
        })
}

/// Kills a process if it bears a mark still: its number may have gone to another meanwhile.
fn kill(process: Pid, marks: &[String]) -> bool {
    match pidfd_open(process, PidfdFlags::empty()) {
        Ok(handle) => bears(process, marks) && pidfd_send_signal(handle, Signal::KILL).is_ok(),
        // Before Linux 5.3.
        Err(Errno::NOSYS) => kill_process(process, Signal::KILL).is_ok(),
        Err(_) => false,
    }
}
