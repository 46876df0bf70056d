//! The agent's files: what it is, what it remembers, and the contents that it was given.

mod contents;
mod identity;
mod ledger;
mod local;
mod root;

pub use self::contents::Contents;
pub use self::identity::{Enrolment, Identity};
pub use self::ledger::{DiskLedger, LedgerError};
pub use self::local::{Local, LocalSca};
pub use self::root::{Root, replace};
