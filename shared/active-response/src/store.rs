//! The book on disk, in a redb file of its own, and with each order what its undo needs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::book::{Book, Change};

type Table = TableDefinition<'static, &'static str, &'static [u8]>;
const ENTRIES: Table = TableDefinition::new("orders");
const OFFENDERS: Table = TableDefinition::new("offenders");
const UNDOS: Table = TableDefinition::new("undos");

/// What is needed to undo an order, whatever has become of its configuration since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Undo {
    /// The name of the file.
    pub executable: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The message that tells it to undo.
    pub line: String,
    /// How long it may take, in seconds.
    pub timeout: u64,
}

impl Undo {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFault {
    /// Another process has it open.
    #[error("it is locked by another agent")]
    Locked,
    /// The disk fails.
    #[error("{0}")]
    Io(String),
    /// What is in it cannot be read.
    #[error("{0}")]
    Corrupt(String),
}

/// The open store.
pub(crate) struct Store(Database);

impl Store {
    /// Opens the store, or makes one. A corrupt one is moved aside, and its path returned: what it held is not undone.
    ///
    /// # Errors
    /// When another process has it open, or the disk fails.
    pub(crate) fn open(path: &Path) -> Result<(Self, Book, Option<PathBuf>), StoreFault> {
        match Self::read(path) {
            Ok((store, book)) => Ok((store, book, None)),
            Err(StoreFault::Corrupt(why)) => {
                let aside = free_name(path);
                tracing::error!(%why, aside = %aside.display(), "the store of undos is corrupt; it is moved aside and a new one begun");
                std::fs::rename(path, &aside).map_err(|error| StoreFault::Io(error.to_string()))?;
                let (store, book) = Self::read(path)?;
                Ok((store, book, Some(aside)))
            }
            Err(other) => Err(other),
        }
    }

    fn read(path: &Path) -> Result<(Self, Book), StoreFault> {
        let database = Database::create(path).map_err(opened)?;
        let transaction = database.begin_write().map_err(corrupt)?;
        for table in [ENTRIES, OFFENDERS, UNDOS] {
            transaction.open_table(table).map_err(corrupt)?;
        }
        transaction.commit().map_err(corrupt)?;
        let mut book = Book::default();
        rows(&database, ENTRIES, |order, entry| book.apply(Change::Entry(order, Some(entry))))?;
        rows(&database, OFFENDERS, |key, offender| book.apply(Change::Offender(key, Some(offender))))?;
        Ok((Self(database), book))
    }

    /// Stores all the changes, or none; with an order's removal goes what its undo needs.
    ///
    /// # Errors
    /// When they could not be stored; the text says why.
    pub(crate) fn write(&self, changes: &[Change], undo: Option<(&str, &Undo)>) -> Result<(), String> {
        let transaction = self.0.begin_write().map_err(|error| error.to_string())?;
        for change in changes {
            match change {
                Change::Entry(order, Some(entry)) => put(&transaction, ENTRIES, order, entry)?,
                Change::Entry(order, None) => {
                    remove(&transaction, ENTRIES, order)?;
                    remove(&transaction, UNDOS, order)?;
                }
                Change::Offender(key, Some(offender)) => put(&transaction, OFFENDERS, key, offender)?,
                Change::Offender(key, None) => remove(&transaction, OFFENDERS, key)?,
            }
        }
        if let Some((order, undo)) = undo {
            put(&transaction, UNDOS, order, undo)?;
        }
        transaction.commit().map_err(|error| error.to_string())
    }

    /// What the undo of an order needs.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn undo(&self, order: &str) -> Result<Undo, String> {
        let read = || -> Result<Undo, StoreFault> {
            let table = self.0.begin_read().map_err(corrupt)?.open_table(UNDOS).map_err(corrupt)?;
            let value = table.get(order).map_err(corrupt)?;
            let value = value.ok_or_else(|| StoreFault::Corrupt("it is not there".into()))?;
            serde_json::from_slice(value.value()).map_err(corrupt)
        };
        read().map_err(|fault| fault.to_string())
    }
}

fn rows<T: DeserializeOwned>(
    database: &Database,
    table: Table,
    mut take: impl FnMut(String, T),
) -> Result<(), StoreFault> {
    let table = database.begin_read().map_err(corrupt)?.open_table(table).map_err(corrupt)?;
    for row in table.iter().map_err(corrupt)? {
        let (key, value) = row.map_err(corrupt)?;
        take(key.value().to_owned(), serde_json::from_slice(value.value()).map_err(corrupt)?);
    }
    Ok(())
}

fn put(transaction: &WriteTransaction, table: Table, key: &str, value: &impl Serialize) -> Result<(), String> {
    let value = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    let mut table = transaction.open_table(table).map_err(|error| error.to_string())?;
    table.insert(key, value.as_slice()).map(drop).map_err(|error| error.to_string())
}

fn remove(transaction: &WriteTransaction, table: Table, key: &str) -> Result<(), String> {
    let mut table = transaction.open_table(table).map_err(|error| error.to_string())?;
    table.remove(key).map(drop).map_err(|error| error.to_string())
}

fn opened(error: DatabaseError) -> StoreFault {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreFault::Locked,
        // What redb cannot read it calls invalid data; everything else is the disk's or the system's doing.
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() != std::io::ErrorKind::InvalidData => {
            StoreFault::Io(error.to_string())
        }
        other => StoreFault::Corrupt(other.to_string()),
    }
}

fn corrupt(error: impl std::fmt::Display) -> StoreFault {
    StoreFault::Corrupt(error.to_string())
}

/// `<path>.corrupt-<n>`, the first that is free.
fn free_name(path: &Path) -> PathBuf {
    let named = |n: u32| path.with_extension(format!("redb.corrupt-{n}"));
    (1..1000).map(named).find(|name| !name.exists()).unwrap_or_else(|| named(1000))
}
