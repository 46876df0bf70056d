//! Objects of the broker's object stores: fetched into files, with length and SHA-256 checked.

use std::path::Path;

use async_nats::jetstream::object_store::GetErrorKind;
use async_nats::{Client, jetstream};
use muster_core::names::hex;
use muster_core::settings::Settings;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

/// An object, and what is known of its bytes.
pub struct Object<'a> {
    /// The object store.
    pub store: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes in hex.
    pub sha256: &'a str,
}

/// Fetches an object into a file, and shows its bytes to `see`. The file is synced when this returns.
///
/// # Errors
/// An outer error is worth another attempt. An inner one is the object's own fault; the file may hold some of it then.
pub async fn fetch(
    client: &Client,
    object: &Object<'_>,
    file: &Path,
    settings: &watch::Receiver<Settings>,
    mut see: impl FnMut(&[u8]),
) -> anyhow::Result<Result<(), String>> {
    let store = jetstream::new(client.clone()).get_object_store(object.store).await?;
    let mut found = match store.get(object.name).await {
        Ok(found) => found,
        Err(error) if error.kind() == GetErrorKind::NotFound => {
            return Ok(Err(format!("the object store {} holds no '{}'", object.store, object.name)));
        }
        Err(error) => return Err(error.into()),
    };
    if found.info.size as u64 != object.size {
        return Ok(Err(format!("'{}' has {} bytes, not {}", object.name, found.info.size, object.size)));
    }
    let mut file = File::create(file).await?;
    let mut sha256 = Sha256::new();
    let mut buffer = Vec::new();
    loop {
        // Looked at for each part, so that a new revision counts at once.
        let size = settings.borrow().chunk_size;
        buffer.clear();
        if (&mut found).take(size).read_to_end(&mut buffer).await? == 0 {
            break;
        }
        sha256.update(&buffer);
        see(&buffer);
        file.write_all(&buffer).await?;
    }
    file.sync_all().await?;
    let found = hex(&sha256.finalize());
    Ok(if found == object.sha256 { Ok(()) } else { Err(format!("the SHA-256 of '{}' is {found}", object.name)) })
}
