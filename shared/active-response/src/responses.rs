//! All active responses of one agent: what runs, what is in force, and what is undone when.

mod gates;
mod undo;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_core::instant::Instant;
use muster_core::problem::Problem;

use self::gates::Gates;
use crate::alert::Alert;
use crate::book::{Begin, Book, Change, New, Phase};
use crate::executable::Executable;
use crate::message::{self, Answer, Command};
use crate::report::{Ending, Fault, Report, Run};
use crate::response::{Kind, Response};
use crate::run::{Limits, Program, Question, leftovers, run};
use crate::store::{Store, StoreFault, Undo};

pub use self::undo::{Left, Undone};

/// The longest that a program may run.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// One order to run a response.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// `<task>:<agent>`.
    pub id: &'a str,
    /// How long the program may run, at least a second and at most an hour.
    pub timeout: Duration,
    /// The agent's `active_response.repeated_offenders`: how many minutes a stateful response lasts against the same
    /// keys the next time and the times after it. Empty: always as long.
    pub repeated_offenders: &'a [u32],
}

/// Why the responses of an agent cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another agent has them open.
    #[error("another agent runs in this directory ({0} is locked)")]
    Locked(PathBuf),
    /// The directory or the store cannot be read or written.
    #[error("the active responses of {0} cannot be opened: {1}")]
    Io(PathBuf, String),
}

/// The active responses of one agent. The crate's documentation says in which order what is called.
pub struct Responses {
    home: PathBuf,
    agent: String,
    grace: Duration,
    store: Store,
    book: Mutex<Book>,
    gates: Gates,
}

impl Responses {
    /// Opens the responses of the agent whose directory is `home`: its programs lie in `active-response/bin`, what must
    /// survive in `active-response/undo.redb`. `agent` is the name that programs are told as the origin of messages.
    ///
    /// Programs that were running when the agent was killed are killed now; what they had begun is undone at its time,
    /// and their orders are the ledger's to report as interrupted. It blocks, for a second at most.
    ///
    /// # Errors
    /// When another process has the store open, or it cannot be read or made. A corrupt one is moved aside; what it
    /// held is not undone, and an error is logged.
    pub fn open(home: &Path, agent: &str, now: Instant) -> Result<Self, OpenError> {
        let failed = |error: io::Error| OpenError::Io(home.to_owned(), error.to_string());
        let programs = home.join("active-response/bin");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(programs).map_err(failed)?;
        // The mark of its processes must be the same whatever name the directory is given.
        let home = fs::canonicalize(home).map_err(failed)?;
        let path = home.join("active-response/undo.redb");
        let (store, book, _aside) = Store::open(&path).map_err(|fault| match fault {
            StoreFault::Locked => OpenError::Locked(path.clone()),
            StoreFault::Io(why) | StoreFault::Corrupt(why) => OpenError::Io(path.clone(), why),
        })?;
        let agent = agent.to_owned();
        let opened = Self { home, agent, grace: GRACE, store, book: Mutex::new(book), gates: Gates::default() };
        opened.recover(now).map_err(|why| OpenError::Io(path, why))?;
        Ok(opened)
    }

    fn recover(&self, now: Instant) -> Result<(), String> {
        let mut book = self.book();
        let mut marks: Vec<String> = book.entries().map(|(order, _)| self.mark(order, Command::Delete)).collect();
        let begun: Vec<String> =
            book.entries().filter(|(_, entry)| entry.phase == Phase::Begun).map(|(order, _)| order.clone()).collect();
        marks.extend(begun.iter().map(|order| self.mark(order, Command::Add)));
        let left = leftovers::end(&marks);
        let interrupted = begun.iter().filter_map(|order| book.ended(order, false)).collect();
        self.write(&mut book, interrupted, None)?;
        let brought_back = book.brought_back(now);
        self.write(&mut book, brought_back, None)?;
        if !begun.is_empty() || left > 0 {
            tracing::warn!(orders = begun.len(), processes = left, "active responses were interrupted");
        }
        Ok(())
    }

    /// Carries out an order. To be called once "started" is on the ledger's disk, and once for an order; the report is
    /// for the ledger. It takes as long as the program runs, at most the timeout and some seconds, after those before
    /// it that run the same response. When it is dropped the program is killed with its group.
    pub async fn execute(&self, order: &Order<'_>, response: &Response, alert: &Alert, now: Instant) -> Report {
        let report = |(ending, run, undo_at)| Report { response: response.name().to_owned(), ending, run, undo_at };
        let failed = |fault| (Ending::Failed(fault), None, None);
        let prepared = match self.prepare(order, response, alert) {
            Ok(prepared) => prepared,
            Err(fault) => return report(failed(fault)),
        };
        let came = tokio::time::Instant::now();
        let _gate = self.gates.enter(response.name()).await;
        let now = now.plus(came.elapsed());
        let new = New {
            order: order.id,
            response: response.name(),
            keys: response.keys_in(alert),
            lasts: match response.kind() {
                Kind::Stateful(lasts) => Some(lasts),
                Kind::Stateless => None,
            },
            repeated_offenders: order.repeated_offenders,
        };
        match self.begin(&new, &prepared.undo, now) {
            Err(fault) => report(failed(fault)),
            Ok(Some(until)) => report((Ending::InForce, None, Some(until))),
            Ok(None) => report(self.act(&new, prepared, now).await),
        }
    }

    /// What can be refused before anything is written.
    fn prepare(&self, order: &Order<'_>, response: &Response, alert: &Alert) -> Result<Prepared, Fault> {
        if !response.is_enabled() {
            return Err(Fault::Disabled);
        }
        response.check(alert).map_err(|problems| {
            Fault::MissingField(
                problems.into_iter().map(|Problem { message, .. }| message).collect::<Vec<_>>().join("; "),
            )
        })?;
        let executable = Executable::find(&self.home, response.executable())?;
        let program = executable.path().to_string_lossy();
        let arguments = response.extra_arguments();
        let line = |command| message::order(command, &self.agent, &program, arguments, alert).map_err(Fault::TooLarge);
        let timeout = order.timeout.clamp(Duration::from_secs(1), MAX_TIMEOUT);
        let undo = Undo {
            executable: response.executable().to_owned(),
            arguments: arguments.to_vec(),
            line: line(Command::Delete)?,
            timeout: timeout.as_secs(),
        };
        let line = line(Command::Add)?;
        Ok(Prepared { line, timeout, undo, executable })
    }

    /// Writes down the order and its undo. Until when the same is in force, if it is.
    fn begin(&self, new: &New<'_>, undo: &Undo, now: Instant) -> Result<Option<Instant>, Fault> {
        let mut book = self.book();
        let (in_force, changes, undo) = match book.begin(new, now)? {
            Begin::Run(changes) => (None, changes, Some((new.order, undo))),
            Begin::InForce(until, changes) => (Some(until), changes, None),
        };
        self.write(&mut book, changes, undo).map_err(Fault::Store)?;
        Ok(in_force)
    }

    async fn act(&self, new: &New<'_>, prepared: Prepared, now: Instant) -> (Ending, Option<Run>, Option<Instant>) {
        let mut begun = Begun { responses: self, order: new.order, success: false };
        let mut asked = Asked { fault: None, in_force: None };
        let mut answerer = |question: Question| {
            let answer = self.asked(new, question, now, &mut asked);
            message::answer(&self.agent, answer)
        };
        let program = Program {
            path: prepared.executable.path(),
            arguments: &prepared.undo.arguments,
            home: &self.home,
            mark: &self.mark(new.order, Command::Add),
        };
        let limits = Limits { timeout: prepared.timeout, grace: self.grace };
        let run = match run(&program, prepared.line, limits, Some(&mut answerer)).await {
            Ok(run) => run,
            Err(error) => {
                self.forget(new.order);
                let why = format!("'{}' cannot be started: {error}", prepared.undo.executable);
                return (Ending::Failed(Fault::NotExecutable(why)), None, None);
            }
        };
        let fault = asked.fault.or(run.exit.fault());
        begun.success = fault.is_none();
        let ending = match (fault, asked.in_force) {
            (Some(fault), _) => Ending::Failed(fault),
            (None, Some(_)) => Ending::InForce,
            (None, None) => Ending::Done,
        };
        drop(begun);
        let undo_at = asked.in_force.or_else(|| self.book().entry(new.order).and_then(|entry| entry.due));
        (ending, Some(run), undo_at)
    }

    /// Decides on a program's question; what follows from the answer is on disk before it is given.
    fn asked(&self, new: &New<'_>, question: Question, now: Instant, asked: &mut Asked) -> Answer {
        let mut book = self.book();
        let (answer, in_force, changes) = match question {
            Ok(keys) => book.ask(new, &keys, now),
            Err(why) => {
                asked.fault = Some(Fault::Protocol(why.to_owned()));
                (Answer::Abort, None, book.aborts(new.order).into_iter().collect())
            }
        };
        if let Err(why) = self.write(&mut book, changes, None) {
            asked.fault = Some(Fault::Store(why));
            return Answer::Abort;
        }
        asked.in_force = in_force;
        answer
    }

    /// Removes an order whose program never ran.
    fn forget(&self, order: &str) {
        let mut book = self.book();
        let removed = vec![Change::Entry(order.to_owned(), None)];
        if let Err(why) = self.write(&mut book, removed, None) {
            // Then it is undone at its time, which does no harm.
            tracing::error!(order, %why, "an active response that never ran stays in the store");
        }
    }

    /// Writes changes and makes them; without changes it writes nothing.
    fn write(&self, book: &mut Book, changes: Vec<Change>, undo: Option<(&str, &Undo)>) -> Result<(), String> {
        if !changes.is_empty() {
            self.store.write(&changes, undo)?;
        }
        changes.into_iter().for_each(|change| book.apply(change));
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mark that the processes of an order bear.
    fn mark(&self, order: &str, command: Command) -> String {
        format!("{} {order} {}", command.word(), self.home.display())
    }

    #[cfg(test)]
    pub(crate) fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }
}

/// An order that may run.
struct Prepared {
    executable: Executable,
    line: String,
    timeout: Duration,
    undo: Undo,
}

/// What came of a program's question.
struct Asked {
    fault: Option<Fault>,
    in_force: Option<Instant>,
}

/// An order that runs. However it stops running, the book learns it.
struct Begun<'a> {
    responses: &'a Responses,
    order: &'a str,
    success: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut book = self.responses.book();
        let Some(change) = book.ended(self.order, self.success) else { return };
        if let Err(why) = self.responses.store.write(std::slice::from_ref(&change), None) {
            // On disk it runs still: after a restart it counts as interrupted, and is undone all the same.
            tracing::error!(order = self.order, %why, "the end of an active response cannot be written");
        }
        book.apply(change);
    }
}

#[cfg(test)]
mod tests;
