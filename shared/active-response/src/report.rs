//! What came of an active response.

use std::time::Duration;

use muster_core::instant::Instant;
use muster_core::message::{MAX_DATA, Outcome};
use serde_json::{Value, json};

/// What came of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The response's name.
    pub response: String,
    /// How it ended.
    pub ending: Ending,
    /// What the program did; `None` when none was started.
    pub run: Option<Run>,
    /// When it is undone, if it is; for [`Ending::InForce`] when what is in force is.
    pub undo_at: Option<Instant>,
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The program ended with 0.
    Done,
    /// The same keys are in force already, and longer from now on. A success, as in 4.x.
    InForce,
    /// It did not do what it should.
    Failed(Fault),
}

/// Why an active response failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The configuration has switched it off.
    #[error("the active response is disabled")]
    Disabled,
    /// The alert lacks what the response needs.
    #[error("{0}")]
    MissingField(String),
    /// There is no such file in the agent's directory.
    #[error("there is no executable '{0}' in active-response/bin")]
    NotFound(String),
    /// The file may not, or cannot, be run.
    #[error("{0}")]
    NotExecutable(String),
    /// It did not end in time; its whole process group was killed.
    #[error("the program did not end within {} s and was killed with its process group", .0.as_secs_f64())]
    Timeout(Duration),
    /// The program ended with this code.
    #[error("the program ended with exit code {0}")]
    Exit(i32),
    /// A signal ended the program.
    #[error("the program was ended by signal {0}")]
    Signal(i32),
    /// The program spoke what cannot be understood.
    #[error("the program asked wrongly: {0}")]
    Protocol(String),
    /// Too many responses wait for their undo.
    #[error("{0} active responses are in force already, as many as can be")]
    TooMany(usize),
    /// The order was carried out before.
    #[error("the order was carried out before")]
    Known,
    /// The message is too long for a program.
    #[error("{0}")]
    TooLarge(String),
    /// What must be on disk before the program starts could not be written.
    #[error("the undo cannot be kept on disk: {0}")]
    Store(String),
}

impl Fault {
    /// A word for programs, which never changes its meaning, and the number that goes with it as the result's code.
    pub fn code(&self) -> (&'static str, i32) {
        match self {
            Self::Disabled => ("disabled", 20),
            Self::MissingField(_) => ("missing-field", 21),
            Self::NotFound(_) => ("not-found", 22),
            Self::NotExecutable(_) => ("not-executable", 23),
            Self::Timeout(_) => ("timeout", 24),
            Self::Exit(_) => ("exit", 25),
            Self::Signal(_) => ("signal", 26),
            Self::Protocol(_) => ("protocol", 27),
            Self::TooMany(_) => ("too-many", 28),
            Self::Known => ("known", 29),
            Self::TooLarge(_) => ("too-large", 30),
            Self::Store(_) => ("store", 31),
        }
    }
}

/// What a program did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// How it ended.
    pub exit: Exit,
    /// The first 4 KiB of what it wrote to standard output and standard error, without its `check_keys`. Bytes that are no
    /// UTF-8 are U+FFFD.
    pub output: String,
    /// How many bytes it wrote altogether.
    pub output_bytes: u64,
    /// Whether it wrote more than `output` holds.
    pub truncated: bool,
    /// How long it ran.
    pub duration: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By us, because it had not ended after so long.
    Timeout(Duration),
}

impl Exit {
    pub(crate) fn fault(self) -> Option<Fault> {
        match self {
            Self::Code(0) => None,
            Self::Code(code) => Some(Fault::Exit(code)),
            Self::Signal(signal) => Some(Fault::Signal(signal)),
            Self::Timeout(after) => Some(Fault::Timeout(after)),
        }
    }
}

impl Report {
    /// Whether it is a success.
    pub fn is_success(&self) -> bool {
        !matches!(self.ending, Ending::Failed(_))
    }

    /// The same for the agent's report. `data` has `response`, `ending` (`done`, `in-force` or the fault's word), and,
    /// where there is one, `undo_at`, `exit_code` or `signal`, `duration_ms`, `output`, `output_bytes`, `truncated`;
    /// the output is cut so that all fits in the 4 KiB that a result may have.
    pub fn outcome(&self) -> Outcome {
        let (ending, code, message) = match &self.ending {
            Ending::Done => ("done", 0, "done".to_owned()),
            Ending::InForce => ("in-force", 0, "in force already; its time starts again".to_owned()),
            Ending::Failed(fault) => {
                let (word, code) = fault.code();
                (word, code, fault.to_string())
            }
        };
        let mut data = json!({ "response": self.response, "ending": ending });
        if let Some(at) = self.undo_at {
            data["undo_at"] = json!(at);
        }
        if let Some(run) = &self.run {
            match run.exit {
                Exit::Code(code) => data["exit_code"] = json!(code),
                Exit::Signal(signal) => data["signal"] = json!(signal),
                Exit::Timeout(_) => {}
            }
            data["duration_ms"] = json!(u64::try_from(run.duration.as_millis()).unwrap_or(u64::MAX));
            data["output_bytes"] = json!(run.output_bytes);
            data["truncated"] = json!(run.truncated);
            put_output(&mut data, &run.output);
        }
        Outcome { code, message, data }
    }
}

/// As much of the output as fits.
fn put_output(data: &mut Value, output: &str) {
    let mut kept = output;
    loop {
        data["output"] = json!(kept);
        let over = data.to_string().len().saturating_sub(MAX_DATA);
        if over == 0 || kept.is_empty() {
            return;
        }
        // A character takes up to six bytes of JSON, so a sixth of what is too much is never too much.
        kept = &kept[..kept.floor_char_boundary(kept.len().saturating_sub(over.div_ceil(6)))];
        data["truncated"] = json!(true);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(output: &str) -> Report {
        let run = Run {
            exit: Exit::Code(3),
            output: output.into(),
            output_bytes: output.len() as u64,
            truncated: false,
            duration: Duration::from_millis(12),
        };
        let ending = Ending::Failed(Fault::Exit(3));
        Report { response: "x".into(), ending, run: Some(run), undo_at: Some(Instant(0)) }
    }

    #[test]
    fn the_outcome_of_a_failure() {
        let outcome = report("no such table\n").outcome();
        assert_eq!((outcome.code, outcome.message.as_str()), (25, "the program ended with exit code 3"));
        let data = json!({"response": "x", "ending": "exit", "exit_code": 3, "duration_ms": 12, "truncated": false,
            "output": "no such table\n", "output_bytes": 14, "undo_at": "1970-01-01T00:00:00Z"});
        assert_eq!(outcome.data, data);
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        let data = report(&"\u{1}".repeat(4096)).outcome().data;
        assert_eq!(data["truncated"], true);
        let length = data.to_string().len();
        assert!((MAX_DATA - 16..=MAX_DATA).contains(&length), "{length}");
    }

    proptest! {
        #[test]
        fn any_output_fits(output in "[\\x00-\\x1f\"\\\\aé€😀]{0,1500}") {
            let data = report(&output).outcome().data;
            prop_assert!(data.to_string().len() <= MAX_DATA);
            prop_assert!(output.starts_with(data["output"].as_str().unwrap_or("no text")));
        }
    }
}
