//! What can go wrong with the database.

use std::path::PathBuf;

use muster_core::problem::Problem;

/// Why the database did not do what it was asked for. It is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The changes do not follow what the database holds.
    #[error("the database stands at offset {have}, the changes follow offset {from}: load the snapshot")]
    Gap {
        /// The database's offset.
        have: u64,
        /// The offset that the changes follow.
        from: u64,
    },
    /// A change does not fit the record that the database holds.
    #[error("the change at offset {offset} does not fit {resource}: {problem}; load the snapshot")]
    Diverged {
        /// The change's offset.
        offset: u64,
        /// The record's name.
        resource: String,
        /// What does not fit.
        problem: Box<Problem>,
    },
    /// What was handed over is malformed.
    #[error("{0}")]
    Malformed(Problem),
    /// The database does not stand yet where it is needed.
    #[error("the database stands at offset {have}, needed is {want}")]
    Behind {
        /// The database's offset.
        have: u64,
        /// The offset that is needed.
        want: u64,
    },
    /// Another process has it open.
    #[error("another process has the vulnerability database {0} open")]
    Locked(PathBuf),
    /// The disk, or what is on it.
    #[error("the vulnerability database fails: {0}")]
    Store(String),
}

impl Error {
    /// Whether changes lead nowhere from here and the snapshot has to be loaded.
    #[must_use]
    pub fn needs_snapshot(&self) -> bool {
        matches!(self, Self::Gap { .. } | Self::Diverged { .. })
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Malformed(problem)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Store(error.to_string())
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for Error {
            fn from(error: redb::$error) -> Self {
                Self::Store(error.to_string())
            }
        })*
    };
}
from_redb!(TransactionError, TableError, StorageError, CommitError, DatabaseError, CompactionError);
