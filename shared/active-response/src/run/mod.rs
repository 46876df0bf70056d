//! Runs one program: says its line, answers its question, bounds its time and its output.

mod group;
pub(crate) mod leftovers;
mod output;

use std::io;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

use self::group::{Group, Pipes};
use self::output::{Kept, Listener};
use crate::report::{Exit, Run};

pub(crate) use self::group::Program;
pub(crate) use self::output::Question;

/// How long a program may run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Then its group gets SIGTERM.
    pub timeout: Duration,
    /// And after this, or when the program itself has ended, SIGKILL.
    pub grace: Duration,
}

/// Answers a program's question with a line.
pub(crate) type Answerer<'a> = &'a mut (dyn FnMut(Question) -> String + Send);

/// What a program that ended may have left in its pipes is read up to this much, in bytes; a child of it that writes
/// without end must not hold us.
const MAX_REST: usize = 1 << 20;

/// Runs a program until it ends, or has been killed. With an `answerer` its standard input stays open and the first
/// line of its standard output that asks `check_keys` is answered; without one it is closed after the line.
///
/// # Errors
/// When it cannot be started.
pub(crate) async fn run(
    program: &Program<'_>,
    line: String,
    limits: Limits,
    answerer: Option<Answerer<'_>>,
) -> io::Result<Run> {
    let began = Instant::now();
    let (group, pipes) = Group::start(program).await?;
    let mut talk = Talk::new(pipes, line, answerer);
    let (group, end) = wait(group, &mut talk, began + limits.timeout, limits.grace).await;
    if end != End::InTime {
        group.signal(Signal::KILL);
        end_marked(program.mark).await;
    }
    talk.rest();
    // A group that is not reaped here is killed once more and reaped in the background.
    let exit = if end == End::Stuck { None } else { group.reap() };
    let exit = exit.filter(|_| end == End::InTime).unwrap_or(Exit::Timeout(limits.timeout));
    let (output, output_bytes, truncated) = talk.kept.into_text();
    Ok(Run { exit, output, output_bytes, truncated, duration: began.elapsed() })
}

/// How a program came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By itself.
    InTime,
    /// By a signal of ours.
    Told,
    /// Not at all: it hangs in the kernel.
    Stuck,
}

/// Talks until the program has ended.
async fn wait(mut group: Group, talk: &mut Talk<'_>, until: Instant, grace: Duration) -> (Group, End) {
    let stages = [
        (until, Signal::TERM, End::InTime),
        (until + grace, Signal::KILL, End::Told),
        (until + 2 * grace, Signal::KILL, End::Told),
    ];
    for (at, signal, end) in stages {
        tokio::select! {
            _ = &mut group.ended => return (group, end),
            () = talk.go_on() => {}
            () = sleep_until(at) => {}
        }
        group.signal(signal);
    }
    (group, End::Stuck)
}

async fn end_marked(mark: &str) {
    let marks = vec![mark.to_owned()];
    let ended = tokio::task::spawn_blocking(move || leftovers::end(&marks)).await;
    if ended.is_ok_and(|left| left > 0) {
        tracing::warn!("processes that had left the group of a program that took too long were killed too");
    }
}

/// The agent's side of the pipes.
struct Talk<'a> {
    input: Option<pipe::Sender>,
    to_say: Vec<u8>,
    said: usize,
    output: Option<pipe::Receiver>,
    errors: Option<pipe::Receiver>,
    listener: Listener,
    answerer: Option<Answerer<'a>>,
    kept: Kept,
}

impl<'a> Talk<'a> {
    fn new(pipes: Pipes, line: String, answerer: Option<Answerer<'a>>) -> Self {
        Self {
            input: Some(pipes.input),
            to_say: line.into_bytes(),
            said: 0,
            output: Some(pipes.output),
            errors: Some(pipes.errors),
            listener: Listener::new(answerer.is_some()),
            answerer,
            kept: Kept::default(),
        }
    }

    /// Reads and writes; it never ends by itself, and may be dropped at any moment and called again.
    async fn go_on(&mut self) {
        let (mut output, mut errors) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        loop {
            tokio::select! {
                said = say(self.input.as_mut(), &self.to_say[self.said..]) => self.has_said(said),
                read = hear(self.output.as_mut(), &mut output) => match read {
                    Some(bytes) => self.heard(&output[..bytes]),
                    None => { self.output = None; self.listened() }
                },
                read = hear(self.errors.as_mut(), &mut errors) => match read {
                    Some(bytes) => self.kept.take(&errors[..bytes]),
                    None => self.errors = None,
                },
            }
        }
    }

    fn has_said(&mut self, said: io::Result<usize>) {
        match said {
            Ok(bytes) => self.said += bytes,
            // The program does not listen any more, which is its right.
            Err(_) => self.input = None,
        }
        if self.said == self.to_say.len() && self.answerer.is_none() {
            self.input = None;
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        let asked = self.listener.hear(bytes, &mut self.kept);
        self.answer(asked);
    }

    fn listened(&mut self) {
        let asked = self.listener.end(&mut self.kept);
        self.answer(asked);
    }

    fn answer(&mut self, asked: Option<Question>) {
        if let (Some(asked), Some(answerer)) = (asked, &mut self.answerer) {
            self.to_say.extend_from_slice(answerer(asked).as_bytes());
        }
    }

    /// What the program left in the pipes before it ended.
    fn rest(&mut self) {
        let mut buffer = vec![0; 16 * 1024];
        let mut room = MAX_REST;
        while let Some(bytes) = left(self.output.as_ref(), &mut buffer, &mut room) {
            self.heard(&buffer[..bytes]);
        }
        self.listened();
        while let Some(bytes) = left(self.errors.as_ref(), &mut buffer, &mut room) {
            self.kept.take(&buffer[..bytes]);
        }
    }
}

/// Writes; waits for ever when there is nothing to write, or nowhere.
async fn say(input: Option<&mut pipe::Sender>, bytes: &[u8]) -> io::Result<usize> {
    match input {
        Some(input) if !bytes.is_empty() => input.write(bytes).await,
        _ => std::future::pending().await,
    }
}

/// Reads; `None` at the end. Waits for ever after it.
async fn hear(from: Option<&mut pipe::Receiver>, buffer: &mut [u8]) -> Option<usize> {
    match from {
        Some(from) => from.read(buffer).await.ok().filter(|bytes| *bytes > 0),
        None => std::future::pending().await,
    }
}

/// Reads what is there without waiting.
fn left(from: Option<&pipe::Receiver>, buffer: &mut [u8], room: &mut usize) -> Option<usize> {
    // Not `try_read`, which does not look when the runtime has not heard yet that there is something.
    let bytes = rustix::io::read(from?, buffer).ok().filter(|bytes| *bytes > 0)?;
    *room = room.checked_sub(bytes)?;
    Some(bytes)
}

#[cfg(test)]
mod tests;
