//! The database: a directory with one redb file, at an offset of the feed.

use std::fs::{self, File};
use std::io::{BufRead, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use muster_core::problem::Problem;
use redb::{Builder, DatabaseError, ReadableDatabase as _, StorageError, WriteTransaction};

use crate::cve_id::CveId;
use crate::error::Error;
use crate::feed::{Action, Batch, Change, MAX_RECORD, Record};
use crate::patch;
use crate::store::{Contents, Reader, Writer};

const FILE: &str = "vulnerabilities.redb";
/// A snapshot on its way: nothing of it counts before it has got the name above.
const LOADING: &str = "loading.redb";
/// The memory that the pages of an open file may take, in bytes.
const CACHE: usize = 64 * 1024 * 1024;

/// A node's vulnerability database. It may be shared between threads: scans go on while changes and snapshots are taken.
pub struct Database {
    directory: PathBuf,
    file: RwLock<Arc<redb::Database>>,
    /// One change at a time.
    writing: Mutex<()>,
}

/// What a batch of changes did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// How many of its changes changed something. A batch that the database already has changes nothing.
    pub changes: usize,
    /// What the database holds now.
    pub contents: Contents,
}

impl Database {
    /// Opens the database of a directory, or makes an empty one at offset 0. One that is corrupt, or of another form, is begun
    /// anew: all that it held comes from the feed. What a process that was killed left of a snapshot goes.
    ///
    /// # Errors
    /// When another process has it open, or the disk fails.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        fs::create_dir_all(directory)?;
        let path = directory.join(FILE);
        let file = match open(&path) {
            Ok(file) if readable(&file) => file,
            Err(Fault::Locked) => return Err(Error::Locked(path)),
            Err(Fault::Disk(why)) => return Err(Error::Store(why)),
            Ok(_) | Err(Fault::Corrupt) => {
                remove(&path)?;
                create(&path)?
            }
        };
        // Whoever loads holds the lock of the file above: nobody else's snapshot is taken away.
        remove(&directory.join(LOADING))?;
        Ok(Self { directory: directory.to_owned(), file: RwLock::new(Arc::new(file)), writing: Mutex::new(()) })
    }

    /// What the database holds.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn contents(&self) -> Result<Contents, Error> {
        Ok(self.reader()?.contents)
    }

    /// Whether the database stands at `offset` or beyond.
    ///
    /// # Errors
    /// [`Error::Behind`] when it does not stand there yet; when the disk fails.
    pub fn require(&self, offset: u64) -> Result<(), Error> {
        let have = self.contents()?.offset;
        if have < offset { Err(Error::Behind { have, want: offset }) } else { Ok(()) }
    }

    /// The record of a name.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn record(&self, name: &str) -> Result<Option<Record>, Error> {
        self.reader()?.record(name)
    }

    /// The CVEs in which a container (`debian`, `redhat_9`) speaks of a product by this name, in their order.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn cves_of(&self, container: &str, product: &str) -> Result<Vec<CveId>, Error> {
        let reader = self.reader()?;
        let Some(container) = reader.container(container)? else { return Ok(Vec::new()) };
        Ok(reader.rows(container, product)?.into_iter().map(|(cve, _)| cve).collect())
    }

    /// The database at this moment.
    pub(crate) fn reader(&self) -> Result<Reader, Error> {
        let transaction = self.file().begin_read()?;
        Reader::new(&transaction)?.ok_or_else(|| Error::Store("it has lost its tables".into()))
    }

    /// Loads a snapshot: a record a line (NDJSON), in any order, of any length; a line has at most 8 MiB. Of several records of
    /// one name the one of the highest offset counts. Afterwards the database holds the snapshot and nothing else, and stands
    /// at `offset`, be it lower than before. Until the last line is safe on the disk the old database stays, whatever happens.
    ///
    /// # Errors
    /// When a line is no record (the problem says which), or the disk or the reader fails.
    pub fn load_snapshot(&self, mut lines: impl BufRead, offset: u64) -> Result<Contents, Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.directory.join(LOADING);
        remove(&path)?;
        let loaded = fill(&path, &mut lines, offset).and_then(|loaded| {
            fs::rename(&path, self.directory.join(FILE))?;
            File::open(&self.directory)?.sync_all()?;
            Ok(loaded)
        });
        match loaded {
            Ok((file, contents)) => {
                *self.file.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(file);
                Ok(contents)
            }
            Err(error) => {
                remove(&path)?;
                Err(error)
            }
        }
    }

    /// Applies changes in their order, all or none, and takes over their offset. What the database already has of them changes
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Gap`] when they do not follow, [`Error::Diverged`] when one does not fit: then the snapshot has to be loaded
    /// ([`Error::needs_snapshot`]). When the disk fails.
    pub fn apply(&self, batch: &Batch) -> Result<Applied, Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = self.contents()?;
        if batch.from > contents.offset {
            return Err(Error::Gap { have: contents.offset, from: batch.from });
        }
        if batch.to <= contents.offset {
            return Ok(Applied { changes: 0, contents });
        }
        let transaction = begin(&self.file())?;
        let mut writer = Writer::new(&transaction)?;
        let mut changes = 0;
        for change in batch.changes.iter().filter(|change| change.offset > contents.offset) {
            changes += usize::from(apply(&mut writer, change)?);
        }
        let contents = writer.finish(batch.to)?;
        transaction.commit()?;
        Ok(Applied { changes, contents })
    }

    fn file(&self) -> Arc<redb::Database> {
        Arc::clone(&self.file.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Applies one change. Whether it changed something.
fn apply(writer: &mut Writer<'_>, change: &Change) -> Result<bool, Error> {
    let old = writer.record(&change.resource)?;
    // A snapshot may hold records that are ahead of its own offset.
    if old.as_ref().is_some_and(|old| old.offset >= change.offset) {
        return Ok(false);
    }
    let payload = match (&change.action, old) {
        (Action::Create(payload), _) => payload.clone(),
        (Action::Update(patch), Some(old)) => {
            patch::apply(old.payload, patch).map_err(|problem| diverged(change, problem))?
        }
        (Action::Update(_), None) => {
            return Err(diverged(change, Problem::new("unknown-record", "", "there is no such record")));
        }
        (Action::Delete, None) => return Ok(false),
        (Action::Delete, Some(_)) => {
            writer.remove(&change.resource)?;
            return Ok(true);
        }
    };
    writer.put(&Record { name: change.resource.clone(), offset: change.offset, version: change.version, payload })?;
    Ok(true)
}

fn diverged(change: &Change, problem: Problem) -> Error {
    Error::Diverged { offset: change.offset, resource: change.resource.clone(), problem: Box::new(problem) }
}

/// Makes a file of a snapshot.
fn fill(path: &Path, lines: &mut impl BufRead, offset: u64) -> Result<(redb::Database, Contents), Error> {
    let mut file = Builder::new().set_cache_size(CACHE).create(path)?;
    let transaction = file.begin_write()?;
    let mut writer = Writer::new(&transaction)?;
    let mut line = Vec::new();
    for number in 1_u32.. {
        line.clear();
        if lines.by_ref().take(MAX_RECORD as u64 + 2).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let record = Record::parse(text).map_err(|problem| problem.line(number))?;
        if writer.record(&record.name)?.is_none_or(|old| old.offset < record.offset) {
            writer.put(&record)?;
        }
    }
    let contents = writer.finish(offset)?;
    transaction.commit()?;
    // The file grew in steps; a quarter of it is empty.
    file.compact()?;
    let transaction = begin(&file)?;
    Writer::new(&transaction)?.finish(offset)?;
    transaction.commit()?;
    Ok((file, contents))
}

/// Begins a transaction after which the file opens at once, also when the process is killed: without this redb reads all of it.
fn begin(file: &redb::Database) -> Result<WriteTransaction, Error> {
    let mut transaction = file.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

enum Fault {
    Locked,
    Corrupt,
    Disk(String),
}

/// Opens a file, or makes an empty one.
fn open(path: &Path) -> Result<redb::Database, Fault> {
    if !path.try_exists().map_err(|error| Fault::Disk(error.to_string()))? {
        return create(path).map_err(|error| Fault::Disk(error.to_string()));
    }
    Builder::new().set_cache_size(CACHE).open(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => Fault::Locked,
        // These two are how redb says that a file is none of its own.
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            Fault::Disk(error.to_string())
        }
        _ => Fault::Corrupt,
    })
}

fn create(path: &Path) -> Result<redb::Database, Error> {
    let file = Builder::new().set_cache_size(CACHE).create(path)?;
    let transaction = file.begin_write()?;
    Writer::new(&transaction)?.finish(0)?;
    transaction.commit()?;
    Ok(file)
}

fn readable(file: &redb::Database) -> bool {
    file.begin_read().is_ok_and(|transaction| matches!(Reader::new(&transaction), Ok(Some(_))))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
