//! How an agent carries out active responses on Linux, in the forms of Wazuh 4.x (messages) and 5.0 (configuration).
//!
//! # The order of calls
//! On the agent, which keeps one [`Responses`] for its life:
//! 1. [`Responses::open`] before any command is taken in. It ends programs that an agent killed before has left running.
//! 2. For each edge command: the agent's ledger puts "started" on disk; then [`Responses::execute`]; then the ledger
//!    gets the [`Report`] as the outcome. That an order runs at most once is the ledger's doing; this crate refuses a
//!    second run of an order only as long as it knows of the first.
//! 3. A timer that waits until [`Responses::next_due`] and calls [`Responses::due`], once at the start too, and looks
//!    again after each `execute`.
//!
//! # What a stateful response does
//! The undo is on disk before the program starts and is due `stateful_timeout` after that, whatever becomes of the
//! program: also when it fails, is killed, or the agent is (it may have had a part of its effect). It is dropped only
//! when the program was never started or was told to abort. An undo runs at least once; programs undo idempotently,
//! and leave the store only when they ended with 0, or after [`MAX_UNDO_ATTEMPTS`]. Stopping the agent undoes nothing.
//!
//! As in 4.x, a program asks `check_keys` before it acts. When the same keys of the same response are in force, the
//! answer is `abort`, the time of what is in force starts again, and that is a success ([`Ending::InForce`]). An undo
//! that is under way is waited for: the programs of one response run one at a time.
//!
//! # What a program gets
//! A file of the agent's `active-response/bin` (see [`Executable`]), started without a shell, in a process group of
//! its own; the agent's directory as working directory; the `extra_arguments` as arguments, one each; nothing in its
//! environment but a `PATH` and a mark; on standard input one line of JSON, at most 65,535 bytes; and no other open
//! file of the agent's, which opens all of its own to be closed on exec. After its time the whole group gets SIGTERM,
//! then SIGKILL, and so does who left the group but still bears the mark. What a program that ended in time left
//! running stays, as in 4.x.

mod alert;
mod book;
mod executable;
mod execution;
mod message;
mod report;
mod response;
mod responses;
mod run;
mod store;
#[cfg(test)]
mod testing;

pub use self::alert::{Alert, MAX_ALERT};
pub use self::book::{MAX_STANDING, MAX_UNDO_ATTEMPTS};
pub use self::executable::Executable;
pub use self::execution::Execution;
pub use self::report::{Ending, Exit, Fault, Report, Run};
pub use self::response::{Kind, Location, MAX_RESPONSE, Response};
pub use self::responses::{Left, OpenError, Order, Responses, Undone};
