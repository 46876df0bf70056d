//! Objects of the broker's object stores: fetched into files, with length and SHA-256 checked.

use std::path::Path;

use async_nats::jetstream::object_store::GetErrorKind;
use async_nats::{Client, jetstream};
use muster_core::names::hex;
use muster_core::settings::Settings;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
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

/// Fetches an object into a file and checks it. The file is synced when this returns.
///
/// # Errors
/// An outer error is worth another attempt. An inner one is the object's own fault; the file may hold some of it then.
pub async fn fetch(
    client: &Client,
    object: &Object<'_>,
    file: &Path,
    settings: &watch::Receiver<Settings>,
) -> anyhow::Result<Result<(), String>> {
    let mut sha256 = Sha256::new();
    let copied = copy(client, object, file, settings, |part| sha256.update(part)).await?;
    let found = hex(&sha256.finalize());
    Ok(copied.and_then(|()| match found == object.sha256 {
        true => Ok(()),
        false => Err(format!("the SHA-256 of '{}' is {found}", object.name)),
    }))
}

/// The same, checked but for the SHA-256: `see` is shown all bytes and checks them.
///
/// # Errors
/// As [`fetch`].
pub async fn copy(
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
    let mut part = Vec::new();
    while next(&mut found, settings, &mut part).await? {
        see(&part);
        file.write_all(&part).await?;
    }
    file.sync_all().await?;
    Ok(Ok(()))
}

/// Reads the next part of an object; false behind its end. How large it is, is looked at each time, so that a new revision
/// of the configuration counts in the middle of a download.
async fn next(
    object: &mut (impl AsyncRead + Unpin),
    settings: &watch::Receiver<Settings>,
    part: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let size = settings.borrow().chunk_size;
    part.clear();
    Ok(object.take(size).read_to_end(part).await? > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::configuration::Configuration;

    #[tokio::test]
    async fn a_download_in_progress_changes_the_size_of_its_parts() {
        let configuration = Configuration::start();
        let settings = configuration.watch();
        let package: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let (mut object, mut part) = (package.as_slice(), Vec::new());
        let (mut sizes, mut fetched) = (Vec::new(), Vec::new());
        while next(&mut object, &settings, &mut part).await.unwrap() {
            sizes.push(part.len());
            fetched.extend_from_slice(&part);
            if sizes.len() == 2 {
                configuration.put("packages:\n  chunk_size: 400KB\n").unwrap();
            }
        }
        assert_eq!(sizes, [256_000, 256_000, 400_000, 88_000]);
        assert_eq!(fetched, package);
    }
}
