//! The bytes of a package, part by part: what has come stays on disk, and a new attempt goes on behind it.

use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use muster_core::package::{Chunk, MAX_CHUNK, Package};
use tokio::fs::OpenOptions;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use crate::link::{Unanswered, pause};

/// The first pause before a part is asked for again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Where packages come from.
#[async_trait]
pub trait Source: Send + Sync {
    /// A part of a package: at least a byte, at most as many as asked for.
    ///
    /// # Errors
    /// When it is not to be had now.
    async fn part(&self, chunk: &Chunk) -> Result<Bytes, Unanswered>;
}

/// Completes a file with the bytes of a package, and asks until they are all there. True when some were there already:
/// then they are as a process left them that was killed.
///
/// # Errors
/// When the file cannot be written.
pub async fn download(source: &dyn Source, package: &Package, to: &Path) -> io::Result<bool> {
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(to).await?;
    let mut length = file.metadata().await?.len();
    if length > package.size {
        file.set_len(0).await?;
        length = 0;
    }
    let resumed = length > 0;
    tracing::info!(package = package.name, size = package.size, there = length, "a package is fetched");
    file.seek(io::SeekFrom::Start(length)).await?;
    let mut failed = 0;
    while length < package.size {
        let wanted = MAX_CHUNK.min(package.size - length);
        let chunk = Chunk { sha256: package.sha256.clone(), offset: length, length: wanted };
        let part = source.part(&chunk).await.and_then(|part| match part.len() as u64 {
            0 => Err(Unanswered::Garbled("no bytes, though more are to come".into())),
            more if more > wanted => Err(Unanswered::Garbled(format!("{more} bytes, where {wanted} were asked for"))),
            _ => Ok(part),
        });
        match part {
            Ok(part) => {
                file.write_all(&part).await?;
                // Only what is written counts as there.
                file.flush().await?;
                length += part.len() as u64;
                failed = 0;
            }
            Err(why) => {
                failed += 1;
                match why.is("slow-down") {
                    true => tracing::debug!(package = package.name, offset = length, %why, "a pause"),
                    false => tracing::warn!(package = package.name, offset = length, %why, "asking again"),
                }
                tokio::time::sleep(pause(failed, FIRST_PAUSE)).await;
            }
        }
    }
    file.sync_all().await?;
    Ok(resumed)
}
