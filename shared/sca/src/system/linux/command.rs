//! Commands: a program with its process group, whose outputs are read together until it ends or has to.

use std::io::{PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Text;

/// So much of the output is read, in bytes; a program that writes more is killed.
const MAX_OUTPUT: usize = 1024 * 1024;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Exit codes by which shells and `env` say that a program could not be run.
const NOT_RUN: [i32; 2] = [126, 127];

pub(super) fn run(words: &[String], timeout: Duration) -> Result<Text, String> {
    let [program, arguments @ ..] = words else { return Err("the command is missing".into()) };
    let (reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").process_group(0);
    // Words of programs are looked for in their output: they must not depend on the language of whoever started us.
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stderr(writer.try_clone().map_err(|error| error.to_string())?).stdout(writer);
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    // The ends for writing that are ours; the output ends when the program's are closed.
    drop(command);
    let read = read(&child, reader, timeout);
    // Not waited for yet, so that the group's number is still its own. What it left behind ends too.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let status = child.wait().map_err(|error| error.to_string())?;
    let text = read?;
    match failure(status) {
        Some(why) if text.whole => Err(why),
        _ => Ok(text),
    }
}

/// What it writes until it ends, or writes too much.
fn read(child: &Child, mut reader: PipeReader, timeout: Duration) -> Result<Text, String> {
    let started = Instant::now();
    let ended: OwnedFd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
        .map_err(|error| format!("it cannot be watched: {error}"))?;
    let mut text = Text { bytes: Vec::new(), whole: true };
    let mut open = true;
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        let wait = Timespec::try_from(left).map_err(|error| error.to_string())?;
        let mut events = [PollFd::new(&ended, PollFlags::IN), PollFd::new(&reader, PollFlags::IN)];
        let watched = if open { &mut events[..] } else { &mut events[..1] };
        match poll(watched, Some(&wait)) {
            Ok(0) => return Err(format!("it did not end within {} s", timeout.as_secs())),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.to_string()),
        }
        let [has_ended, has_output] = [&events[0], &events[1]].map(|event| !event.revents().is_empty());
        if open && has_output {
            open = take(&mut reader, &mut text)?;
            if !text.whole {
                return Ok(text);
            }
        } else if has_ended {
            return Ok(text);
        }
    }
}

/// Takes what is there; whether there can be more.
fn take(reader: &mut PipeReader, text: &mut Text) -> Result<bool, String> {
    let mut buffer = [0; 16 * 1024];
    let count = reader.read(&mut buffer).map_err(|error| error.to_string())?;
    let room = MAX_OUTPUT - text.bytes.len();
    text.whole = count <= room;
    text.bytes.extend(buffer.iter().take(count.min(room)));
    Ok(count > 0)
}

/// Why it is not known what the program would have said.
fn failure(status: ExitStatus) -> Option<String> {
    match (status.code(), status.signal()) {
        (Some(code), _) if NOT_RUN.contains(&code) => {
            Some(format!("it ended with code {code}: a program cannot be run"))
        }
        (_, Some(signal)) => Some(format!("it was ended by signal {signal}")),
        _ => None,
    }
}
