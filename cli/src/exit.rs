//! What the process says by the way it ends.

use std::io::ErrorKind;
use std::process::ExitCode;

use muster_core::problem::Problem;
use muster_core::status::State;

use crate::ask::Refusal;
use crate::output::{Output, say};

/// How a command ended. clap itself ends with 2 when the command line is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It is done; the task that was waited for has succeeded.
    Done = 0,
    /// It did not work; of `provision`: something stands otherwise than its file says; of `doctor`: it has found
    /// something.
    Failed = 1,
    /// `provision` or `doctor` did not work.
    NotDone = 2,
    /// The task has succeeded with some recipients and not with others.
    Partial = 3,
    /// The request or the task was refused.
    Rejected = 4,
    /// The task reached nobody in time.
    Expired = 5,
    /// The task was cancelled.
    Cancelled = 6,
    /// The task failed.
    TaskFailed = 7,
    /// The time to wait was over before the task's end. The task goes on: nothing failed and nothing is undone, so it is
    /// neither of the codes above, and a script may wait again.
    TimeOver = 8,
}

impl Exit {
    /// The code for a task that was waited for.
    pub const fn of(state: State) -> Self {
        match state {
            State::Succeeded => Self::Done,
            State::Partial => Self::Partial,
            State::Rejected => Self::Rejected,
            State::Expired => Self::Expired,
            State::Cancelled => Self::Cancelled,
            State::Failed => Self::TaskFailed,
            State::Pending | State::Running | State::Stopping => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Tells an error on stderr, a refusal one problem a line, and says how to end.
pub(crate) fn failed(error: &anyhow::Error, output: Output) -> Exit {
    if is_broken_pipe(error) {
        return Exit::Done;
    }
    let Some(refusal) = error.downcast_ref::<Refusal>() else {
        say(&format!("error: {error:#}"));
        return Exit::Failed;
    };
    tell(&refusal.problems, output);
    if refusal.code >= 500 { Exit::Failed } else { Exit::Rejected }
}

/// Tells problems on stderr, one a line.
pub(crate) fn tell(problems: &[Problem], output: Output) {
    for problem in problems {
        match output {
            Output::Table => say(&format!("error: {problem}")),
            Output::Json => say(&serde_json::json!(problem).to_string()),
        }
    }
}

/// Whether the reader of our output has gone: `muster task list | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_code() {
        let codes = [
            (State::Succeeded, 0),
            (State::Partial, 3),
            (State::Rejected, 4),
            (State::Expired, 5),
            (State::Cancelled, 6),
            (State::Failed, 7),
            (State::Running, 1),
        ];
        for (state, code) in codes {
            assert_eq!(Exit::of(state) as u8, code, "{}", state.name());
        }
    }

    #[test]
    fn errors_have_theirs() {
        let refused = |code| anyhow::Error::new(Refusal { code, problems: vec![Problem::new("x", "", "y")] });
        let pipe = std::io::Error::from(ErrorKind::BrokenPipe);
        assert_eq!(failed(&refused(404), Output::Table), Exit::Rejected);
        assert_eq!(failed(&refused(503), Output::Json), Exit::Failed);
        assert_eq!(failed(&anyhow::anyhow!("no"), Output::Table), Exit::Failed);
        assert_eq!(failed(&anyhow::Error::new(pipe), Output::Table), Exit::Done);
    }
}
