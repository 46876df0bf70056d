//! One file that is followed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use sha2::{Digest, Sha256};

use super::lines::{self, MAX_LINE};
use super::pattern;
use super::spool;
use super::state::{FileId, Position};

/// How much of a file is read at a time: more than the longest line.
const CHUNK: usize = 256 * 1024;

/// An inode is given again to another file, so the first bytes, as far as they were read, must be the same too.
const HEAD: u64 = 256;

/// Where a file is read from that was not followed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Beginning,
    End,
}

/// Opens the regular file at `path` and says where reading begins.
pub(super) fn open(path: &str, from: From) -> io::Result<(File, Position)> {
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let (offset, skipping) = if from == From::End { last_line(&file, metadata.len())? } else { (0, false) };
    let head = head(&file, offset)?;
    let position = Position { path: path.to_owned(), id: FileId::of(&metadata), offset, skipping, head };
    Ok((file, position))
}

/// Opens the file of a position again, also when it was renamed within its directory; `None` when it is gone or was
/// rewritten.
pub(super) fn reopen(position: &Position) -> Option<File> {
    let same = |path: &std::path::Path| {
        let metadata = std::fs::metadata(path).ok()?;
        (FileId::of(&metadata) == position.id && metadata.is_file()).then_some(())?;
        let file = File::open(path).ok()?;
        (FileId::of(&file.metadata().ok()?) == position.id && is_as_before(&file, position).ok()?).then_some(file)
    };
    same(position.path.as_ref()).or_else(|| pattern::siblings(&position.path).iter().find_map(|path| same(path)))
}

/// Reads once from where `position` stands: adds the complete lines to `into` and moves the position. Says whether
/// there may be more.
pub(super) fn read(file: &File, position: &mut Position, into: &mut Vec<u8>) -> io::Result<bool> {
    let length = file.metadata()?.len();
    if length == position.offset {
        return Ok(false);
    }
    if !is_as_before(file, position)? {
        tracing::info!(path = position.path, "the file was rewritten; it is read from its beginning");
        (position.offset, position.skipping, position.head) = (0, false, String::new());
    }
    let buffer = read_at(file, position.offset, CHUNK)?;
    let mut written = Ok(());
    let done = lines::split(&buffer, &mut position.skipping, |line| {
        if written.is_ok() {
            written = spool::entry(into, &position.path, &line);
        }
    });
    written?;
    advance(file, position, done)?;
    Ok(done > 0)
}

/// Adds what is left of a file that will not grow any more: a last line without an end.
pub(super) fn finish(file: &File, position: &mut Position, into: &mut Vec<u8>) -> io::Result<()> {
    let rest = read_at(file, position.offset, MAX_LINE + 1)?;
    if !rest.is_empty() && !position.skipping {
        spool::entry(into, &position.path, &lines::line(&rest))?;
    }
    advance(file, position, rest.len())
}

/// Whether no path leads to the file any more.
pub(super) fn is_deleted(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

fn advance(file: &File, position: &mut Position, by: usize) -> io::Result<()> {
    let before = position.offset;
    position.offset += by as u64;
    if before < HEAD && by > 0 {
        position.head = head(file, position.offset)?;
    }
    Ok(())
}

/// Whether the file still begins as it did, and is no shorter than what was read.
fn is_as_before(file: &File, position: &Position) -> io::Result<bool> {
    Ok(file.metadata()?.len() >= position.offset && head(file, position.offset)? == position.head)
}

/// The digest of the first bytes before `offset`; empty when there are none.
fn head(file: &File, offset: u64) -> io::Result<String> {
    let bytes = read_at(file, 0, usize::try_from(offset.min(HEAD)).unwrap_or(0))?;
    Ok(if bytes.is_empty() {
        String::new()
    } else {
        Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect()
    })
}

/// Where the last line begins that is not complete, or the end; and whether that is inside a line too long to keep.
fn last_line(file: &File, length: u64) -> io::Result<(u64, bool)> {
    let from = length.saturating_sub(MAX_LINE as u64);
    let tail = read_at(file, from, MAX_LINE)?;
    Ok(match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => (from + at as u64 + 1, false),
        None if from == 0 => (0, false),
        None => (length, true),
    })
}

/// Up to `limit` bytes from `offset`; fewer only at the end of the file.
fn read_at(file: &File, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; limit];
    let mut filled = 0;
    while filled < limit {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}
