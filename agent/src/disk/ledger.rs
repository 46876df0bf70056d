//! The ledger on disk: a table of rows in redb, one for each part of the state that changes by itself.

use std::path::{Path, PathBuf};

use muster_core::lane::Lane;
use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, StorageError,
    TableDefinition,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::rules::{Change, Durability, Ledger, LedgerFault, State};

const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("ledger");
/// The row of the ledger's id.
const ID: &str = "id";

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another agent has it open.
    #[error("another agent runs in this directory ({0} is locked); give each agent a --root of its own")]
    Locked(PathBuf),
    /// It cannot be read or made.
    #[error("the ledger {0} cannot be opened: {1}")]
    Io(PathBuf, String),
}

/// A ledger on disk. While it is open, nobody else can open it.
pub struct DiskLedger {
    database: Database,
}

impl DiskLedger {
    /// Opens the ledger, or makes one with a random id, and reads the state. A corrupt one is moved aside and a new one
    /// made: its other id tells the gateway that what was handed over is not known any more.
    ///
    /// # Errors
    /// When another process has it open, or the disk fails.
    pub fn open(path: &Path) -> Result<(Self, State), LedgerError> {
        match Self::read(path) {
            Ok(opened) => return Ok(opened),
            Err(Fault::Locked) => return Err(LedgerError::Locked(path.to_owned())),
            Err(Fault::Io(why)) => return Err(LedgerError::Io(path.to_owned(), why)),
            Err(Fault::Corrupt(why)) => {
                let aside = path.with_extension(format!("redb.corrupt-{}", nuid::next()));
                tracing::error!(%why, aside = %aside.display(), "the ledger is corrupt; it is moved aside and a new one begun");
                std::fs::rename(path, aside).map_err(|error| LedgerError::Io(path.to_owned(), error.to_string()))?;
            }
        }
        Self::read(path).map_err(|fault| LedgerError::Io(path.to_owned(), fault.to_string()))
    }

    fn read(path: &Path) -> Result<(Self, State), Fault> {
        let database = Database::create(path).map_err(Fault::open)?;
        let fresh = {
            let transaction = database.begin_write().map_err(Fault::corrupt)?;
            let mut table = transaction.open_table(ROWS).map_err(Fault::corrupt)?;
            let fresh = table.is_empty().map_err(Fault::corrupt)?;
            if fresh {
                table.insert(ID, nuid::next().as_bytes()).map_err(Fault::corrupt)?;
            }
            drop(table);
            if fresh {
                transaction.commit().map_err(Fault::corrupt)?;
            } else {
                transaction.abort().map_err(Fault::corrupt)?;
            }
            fresh
        };
        let state = state(&database)?;
        tracing::info!(ledger = %state.id, fresh, "the ledger is open");
        Ok((Self { database }, state))
    }
}

impl Ledger for DiskLedger {
    fn write(&mut self, changes: &[Change], durability: Durability) -> Result<(), LedgerFault> {
        let fault = |error: redb::Error| LedgerFault(error.to_string());
        let mut transaction = self.database.begin_write().map_err(|e| fault(e.into()))?;
        let durability = match durability {
            Durability::Now => redb::Durability::Immediate,
            Durability::Later => redb::Durability::None,
        };
        transaction.set_durability(durability).map_err(|e| fault(e.into()))?;
        {
            let mut table = transaction.open_table(ROWS).map_err(|e| fault(e.into()))?;
            for change in changes {
                let (key, value) = row(change).map_err(|error| LedgerFault(error.to_string()))?;
                match value {
                    Some(value) => table.insert(key.as_str(), value.as_slice()).map(drop),
                    None => table.remove(key.as_str()).map(drop),
                }
                .map_err(|e| fault(e.into()))?;
            }
        }
        transaction.commit().map_err(|e| fault(e.into()))
    }
}

/// The row that a change writes, or removes.
fn row(change: &Change) -> serde_json::Result<(String, Option<Vec<u8>>)> {
    fn json(value: &impl Serialize) -> serde_json::Result<Option<Vec<u8>>> {
        serde_json::to_vec(value).map(Some)
    }
    fn optional(value: Option<&impl Serialize>) -> serde_json::Result<Option<Vec<u8>>> {
        value.map(serde_json::to_vec).transpose()
    }
    Ok(match change {
        Change::Epoch(epoch) => ("epoch".into(), json(epoch)?),
        Change::Floor(floor) => ("floor".into(), json(floor)?),
        Change::Groups(groups) => ("groups".into(), json(groups)?),
        Change::InForce(state) => ("in-force".into(), json(state)?),
        Change::Lane(lane, held) => (format!("lane/{lane}"), optional(held.as_ref())?),
        Change::Edge(task, edge) => (format!("edge/{task}"), optional(edge.as_ref())?),
        Change::Result(task, result) => (format!("result/{task}"), optional(result.as_ref())?),
    })
}

/// The change that a stored row was written by.
fn change(key: &str, value: &[u8]) -> Result<Change, Fault> {
    fn json<T: DeserializeOwned>(value: &[u8]) -> Result<T, Fault> {
        serde_json::from_slice(value).map_err(Fault::corrupt)
    }
    Ok(match key.split_once('/') {
        None if key == "epoch" => Change::Epoch(json(value)?),
        None if key == "floor" => Change::Floor(json(value)?),
        None if key == "groups" => Change::Groups(json(value)?),
        None if key == "in-force" => Change::InForce(json(value)?),
        Some(("lane", lane)) => Change::Lane(lane.parse::<Lane>().map_err(Fault::Corrupt)?, Some(json(value)?)),
        Some(("edge", task)) => Change::Edge(task.into(), Some(json(value)?)),
        Some(("result", task)) => Change::Result(task.into(), Some(json(value)?)),
        _ => return Err(Fault::Corrupt(format!("unknown row '{key}'"))),
    })
}

fn state(database: &Database) -> Result<State, Fault> {
    let transaction = database.begin_read().map_err(Fault::corrupt)?;
    let table = transaction.open_table(ROWS).map_err(Fault::corrupt)?;
    let id = table.get(ID).map_err(Fault::corrupt)?.ok_or_else(|| Fault::Corrupt("it has no id".into()))?;
    let mut state = State::new(String::from_utf8(id.value().to_vec()).map_err(Fault::corrupt)?);
    for entry in table.iter().map_err(Fault::corrupt)? {
        let (key, value) = entry.map_err(Fault::corrupt)?;
        if key.value() != ID {
            state.apply(change(key.value(), value.value())?);
        }
    }
    Ok(state)
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("it is locked")]
    Locked,
    #[error("{0}")]
    Io(String),
    #[error("{0}")]
    Corrupt(String),
}

impl Fault {
    fn open(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Locked,
            // What redb cannot read it calls invalid data; everything else is the disk's or the system's doing.
            DatabaseError::Storage(StorageError::Io(error)) if error.kind() != std::io::ErrorKind::InvalidData => {
                Self::Io(error.to_string())
            }
            other => Self::corrupt(other),
        }
    }

    fn corrupt(error: impl std::fmt::Display) -> Self {
        Self::Corrupt(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rules::{Edge, Held, InForce};
    use muster_core::message::{CommandResult, Outcome, ReportStatus};
    use muster_core::stamp::Stamp;

    fn changes() -> Vec<Change> {
        let lane = Lane::config("web.eu");
        let failure = Outcome { code: 4, message: "line 3".into(), ..Outcome::default() };
        let result = CommandResult {
            request_id: "t1".into(),
            status: ReportStatus::Failure,
            lane: Some(lane.clone()),
            version: Some(Stamp::new(1, 7)),
            result: failure.clone(),
        };
        let held = Held {
            lane: lane.clone(),
            version: Stamp::new(1, 7),
            task: "t1".into(),
            digest: Some("d".into()),
            failure: Some(Box::new(failure)),
            evidence: Some(Box::new(serde_json::json!(1))),
        };
        let edge = Edge { task: "e1".into(), order: Stamp::new(1, 9), outcome: None, confirmed: false };
        let in_force = InForce {
            groups: vec!["web.eu".into()],
            configurations: vec![("web.eu".into(), "c".into())],
            contents: vec![(Lane::item_of("sca", "web.eu/cis"), "d".into())],
        };
        vec![
            Change::Epoch(1),
            Change::Floor(Stamp::new(1, 3)),
            Change::Groups(vec!["web.eu".into(), "default".into()]),
            Change::InForce(in_force),
            Change::Lane(lane, Some(held)),
            Change::Edge("e1".into(), Some(edge)),
            Change::Result("t1".into(), Some(result)),
        ]
    }

    #[test]
    fn what_was_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.redb");
        let (mut ledger, mut state) = DiskLedger::open(&path).unwrap();
        ledger.write(&changes(), Durability::Now).unwrap();
        changes().into_iter().for_each(|change| state.apply(change));
        assert!(matches!(DiskLedger::open(&path), Err(LedgerError::Locked(_))), "one agent for each root");
        drop(ledger);
        let (mut ledger, again) = DiskLedger::open(&path).unwrap();
        assert_eq!(again, state);
        ledger.write(&[Change::Result("t1".into(), None)], Durability::Later).unwrap();
        drop(ledger);
        assert!(DiskLedger::open(&path).unwrap().1.results.is_empty());
    }

    #[test]
    fn what_was_committed_survives_a_process_that_never_closed_its_ledger() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.redb");
        let (mut ledger, mut state) = DiskLedger::open(&path).unwrap();
        ledger.write(&changes(), Durability::Now).unwrap();
        changes().into_iter().for_each(|change| state.apply(change));
        ledger.write(&[Change::Epoch(9)], Durability::Later).unwrap();
        // What a killed process leaves: the file as it is on disk, without the clean end that dropping it writes.
        let killed = directory.path().join("killed.redb");
        std::fs::copy(&path, &killed).unwrap();
        let (_, again) = DiskLedger::open(&killed).unwrap();
        assert_eq!(again, state);
    }

    #[test]
    fn a_corrupt_ledger_is_moved_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.redb");
        let (ledger, first) = DiskLedger::open(&path).unwrap();
        drop(ledger);
        std::fs::write(&path, "no ledger at all, and longer than any header would be. ".repeat(200)).unwrap();
        let (_, second) = DiskLedger::open(&path).unwrap();
        assert_ne!(first.id, second.id);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_row_that_is_none_is_a_corrupt_ledger() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.redb");
        let (ledger, first) = DiskLedger::open(&path).unwrap();
        let transaction = ledger.database.begin_write().unwrap();
        transaction.open_table(ROWS).unwrap().insert("lane/groups", b"{".as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(ledger);
        assert_ne!(DiskLedger::open(&path).unwrap().1.id, first.id);
    }
}
