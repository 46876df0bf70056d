//! Packages: fetched from the object store `packages`, checked, kept below the node's directory, and served at
//! `node.package.<sha256>`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::StreamExt;
use muster_agent::rules::outcome::{INVALID, NOT_APPLIED, outcome};
use muster_agent::signature::{Check, KEYS, Keys, signature};
use muster_core::message::Outcome;
use muster_core::package::{Chunk, ERROR_CODE, MAX_CHUNK, Package};
use muster_core::settings::Settings;
use serde_json::{Value, json};
use tokio::fs::{File, create_dir_all, metadata, remove_file, rename};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::guard::NODES;
use crate::objects::{self, Object};

/// The object store.
const STORE: &str = "packages";
/// Before the object store is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The packages that this node holds and serves.
pub struct Packages {
    client: Client,
    directory: PathBuf,
    settings: watch::Receiver<Settings>,
    serving: BTreeMap<String, AbortHandle>,
}

impl Packages {
    /// Those below a directory; none is served yet.
    pub fn new(client: &Client, root: &Path, settings: watch::Receiver<Settings>) -> Self {
        Self { client: client.clone(), directory: root.join("packages"), settings, serving: BTreeMap::new() }
    }

    /// What fetches a package: it asks the object store until that answers.
    pub fn fetch(&self, text: &str) -> impl Future<Output = Result<Value, Outcome>> + Send + 'static {
        let package = serde_json::from_str::<Package>(text).map_err(|e| outcome(INVALID, e.to_string()));
        let (client, directory, settings) = (self.client.clone(), self.directory.clone(), self.settings.clone());
        async move {
            let package = package?;
            loop {
                match fetch(&client, &directory, &package, &settings).await {
                    Ok(done) => return done.map(|()| json!({ "sha256": package.sha256, "size": package.size })),
                    Err(error) => tracing::warn!(package = package.name, %error, "not fetched yet; trying again"),
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Serves exactly these packages, and deletes the others. False when one of them is not whole.
    pub async fn keep(&mut self, packages: &[Package]) -> anyhow::Result<bool> {
        let wanted: BTreeMap<&str, &Package> = packages.iter().map(|p| (p.sha256.as_str(), p)).collect();
        self.serving.retain(|sha256, serving| {
            let stays = wanted.contains_key(sha256.as_str());
            if !stays {
                serving.abort();
            }
            stays
        });
        create_dir_all(&self.directory).await?;
        let mut files = tokio::fs::read_dir(&self.directory).await?;
        while let Some(file) = files.next_entry().await? {
            let name = file.file_name().to_string_lossy().into_owned();
            // A part belongs to a fetch that may be at work.
            if !name.ends_with(".part") && !wanted.contains_key(name.as_str()) {
                remove_file(file.path()).await?;
            }
        }
        let mut whole = true;
        for (sha256, package) in wanted {
            let file = self.directory.join(sha256);
            if !metadata(&file).await.is_ok_and(|found| found.len() == package.size) {
                whole = false;
            } else if !self.serving.contains_key(sha256) {
                let requests = self.client.queue_subscribe(format!("node.package.{sha256}"), NODES.to_owned()).await?;
                let serving = tokio::spawn(serve(self.client.clone(), requests, file, self.settings.clone()));
                self.serving.insert(sha256.to_owned(), serving.abort_handle());
            }
        }
        Ok(whole)
    }
}

impl Drop for Packages {
    fn drop(&mut self) {
        self.serving.values().for_each(AbortHandle::abort);
    }
}

/// Fetches a package once; an outer error is worth another attempt, an inner one is the package's own fault.
async fn fetch(
    client: &Client,
    directory: &Path,
    package: &Package,
    settings: &watch::Receiver<Settings>,
) -> anyhow::Result<Result<(), Outcome>> {
    let refused = |why: String| Ok(Err(outcome(NOT_APPLIED, why)));
    let whole = directory.join(&package.sha256);
    if metadata(&whole).await.is_ok_and(|found| found.len() == package.size) {
        return Ok(Ok(()));
    }
    let keys = match Keys::parse(&std::env::var(KEYS).unwrap_or_default()) {
        Ok(keys) => keys,
        Err(why) => return refused(format!("{KEYS}: {why}")),
    };
    let signature = match signature(package) {
        Ok(signature) => signature,
        Err(why) => return refused(why),
    };
    create_dir_all(directory).await?;
    let part = directory.join(format!("{}.part", package.sha256));
    let mut check = Check::new(&keys, package, &signature);
    let object = Object { store: STORE, name: &package.name, size: package.size, sha256: &package.sha256 };
    let fetched = objects::copy(client, &object, &part, settings, |bytes| check.update(bytes)).await?;
    if let Err(why) = fetched.and_then(|()| check.finish()) {
        let _ = remove_file(&part).await;
        return refused(why);
    }
    rename(&part, &whole).await?;
    Ok(Ok(()))
}

async fn serve(
    client: Client,
    mut requests: async_nats::Subscriber,
    file: PathBuf,
    settings: watch::Receiver<Settings>,
) {
    while let Some(request) = requests.next().await {
        let Some(reply) = request.reply else { continue };
        let most = settings.borrow().chunk_size.min(MAX_CHUNK);
        let sent = match read(&file, &request.payload, most).await {
            Ok(bytes) => client.publish(reply, bytes).await,
            Err(why) => {
                let mut headers = HeaderMap::new();
                headers.insert(ERROR_CODE, "400");
                headers.insert("Nats-Service-Error", why.as_str());
                client.publish_with_headers(reply, headers, Bytes::new()).await
            }
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "a part of a package was not sent");
        }
    }
}

/// A part of a file, at most so many bytes; empty behind its end.
async fn read(file: &Path, question: &[u8], most: u64) -> Result<Bytes, String> {
    let chunk: Chunk = serde_json::from_slice(question).map_err(|e| format!("not a question for a part: {e}"))?;
    let part = async {
        let mut file = File::open(file).await?;
        file.seek(std::io::SeekFrom::Start(chunk.offset)).await?;
        let mut part = Vec::new();
        file.take(chunk.length.min(most)).read_to_end(&mut part).await?;
        std::io::Result::Ok(Bytes::from(part))
    };
    part.await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => "this node does not hold it any more".to_owned(),
        _ => error.to_string(),
    })
}
