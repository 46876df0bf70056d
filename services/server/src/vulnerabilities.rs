//! The node's vulnerability database: brought to an offset of the feed, and asked at `node.vulnerabilities.match`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use muster_agent::rules::outcome::{INVALID, NOT_APPLIED, outcome};
use muster_core::feed::{Feed, Part, STORE, Way};
use muster_core::message::Outcome;
use muster_core::settings::Settings;
use muster_vulnerabilities::feed::MAX_BATCH;
use muster_vulnerabilities::{Batch, Contents, Database, Error};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::task::{AbortHandle, spawn_blocking};

use crate::objects::{Object, fetch};
use crate::scan;

/// Before the object store is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The database, and what brings it up to date.
pub struct Vulnerabilities {
    feeder: Feeder,
    answering: AbortHandle,
}

/// Brings the database to an offset.
#[derive(Clone)]
struct Feeder {
    client: Client,
    database: Arc<Database>,
    /// Where objects lie until they are taken.
    directory: PathBuf,
    settings: watch::Receiver<Settings>,
    /// Held by the one that is at work, also when nobody waits for it any more.
    working: Arc<Mutex<()>>,
}

impl Vulnerabilities {
    /// Opens the database below the node's directory and begins to answer.
    ///
    /// # Errors
    /// When another process has it open, the disk fails, or the subject cannot be listened on.
    pub async fn start(
        client: &Client,
        id: &str,
        root: &Path,
        settings: watch::Receiver<Settings>,
    ) -> anyhow::Result<Self> {
        let (home, directory) = (root.join("vulnerabilities"), root.join("vulnerabilities/fetched"));
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        let database = Arc::new(spawn_blocking(move || Database::open(&home)).await??);
        let answering = scan::start(client, id, database.clone()).await?;
        let feeder = Feeder { client: client.clone(), database, directory, settings, working: Arc::default() };
        Ok(Self { feeder, answering })
    }

    /// Whether the database stands where this feed leads, or beyond.
    pub fn holds(&self, text: &str) -> bool {
        serde_json::from_str::<Feed>(text).is_ok_and(|feed| self.feeder.database.require(feed.to).is_ok())
    }

    /// What brings the database where a feed leads: it asks the object store until that answers. Until something whole is
    /// there the database stays as it is. Whoever stops waiting for it lets the next one begin when the step at work is done.
    pub fn follow(&self, text: &str) -> impl Future<Output = Result<Value, Outcome>> + Send + 'static {
        let feed = serde_json::from_str::<Feed>(text).map_err(|error| outcome(INVALID, error.to_string()));
        let feeder = self.feeder.clone();
        async move {
            let feed = feed?;
            let contents = feeder.follow(&feed).await.map_err(|why| outcome(NOT_APPLIED, why))?;
            Ok(json!(contents))
        }
    }
}

impl Drop for Vulnerabilities {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

impl Feeder {
    async fn follow(&self, feed: &Feed) -> Result<Contents, String> {
        let working = Arc::new(self.working.clone().lock_owned().await);
        let have = self.database.contents().map_err(|error| error.to_string())?.offset;
        let no_way =
            || format!("the database stands at {have}; changes follow {}, and there is no snapshot", feed.from);
        let way = feed.way(have).ok_or_else(no_way)?;
        let anew = way.snapshot.is_some();
        let done = match self.take(way, &working).await {
            // Changes that do not fit what is here fit what the snapshot brings.
            Err(Failed::Feed(error)) if error.needs_snapshot() && !anew && feed.snapshot.is_some() => {
                tracing::warn!(%error, "the changes do not fit; the snapshot is loaded");
                match feed.anew() {
                    Some(way) => self.take(way, &working).await,
                    None => Err(Failed::Feed(error)),
                }
            }
            done => done,
        };
        if let Err(error) = tokio::fs::remove_dir_all(&self.directory).await {
            tracing::debug!(%error, "nothing that was fetched is left");
        }
        done.map_err(|failed| match failed {
            Failed::Feed(error) => error.to_string(),
            Failed::Object(why) => why,
        })
    }

    /// Takes what is on the way, one after the other: where it ends early, the database stands in between.
    async fn take(&self, way: Way<'_>, working: &Arc<OwnedMutexGuard<()>>) -> Result<Contents, Failed> {
        if let Some(snapshot) = way.snapshot {
            let (file, offset) = (self.fetched(snapshot).await?, snapshot.offset);
            let load = move |database: &Database| database.load_snapshot(BufReader::new(File::open(&file)?), offset);
            self.work(working, load).await.map_err(|failed| failed.within(&snapshot.object))?;
        }
        for (from, part) in way.changes {
            if part.size > MAX_BATCH as u64 {
                let why = format!("'{}' has {} bytes; changes have at most {MAX_BATCH}", part.object, part.size);
                return Err(Failed::Object(why));
            }
            let (file, to) = (self.fetched(part).await?, part.offset);
            let apply = move |database: &Database| {
                let bytes = std::fs::read(&file)?;
                database.apply(&Batch::parse(from, to, &bytes)?)
            };
            self.work(working, apply).await.map_err(|failed| failed.within(&part.object))?;
        }
        self.work(working, Database::contents).await
    }

    /// Works on the database, off the async threads. The work goes on when nobody waits for it any more.
    async fn work<T: Send + 'static>(
        &self,
        working: &Arc<OwnedMutexGuard<()>>,
        work: impl FnOnce(&Database) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failed> {
        let (database, working) = (self.database.clone(), working.clone());
        let done = spawn_blocking(move || {
            let done = work(&database);
            drop(working);
            done
        });
        match done.await {
            Ok(done) => done.map_err(Failed::Feed),
            Err(error) => Err(Failed::Object(format!("the work on the database was given up: {error}"))),
        }
    }

    /// An object as a file: asked for until the object store answers.
    async fn fetched(&self, part: &Part) -> Result<PathBuf, Failed> {
        let object = Object { store: STORE, name: &part.object, size: part.size, sha256: &part.sha256 };
        let file = self.directory.join(&part.sha256);
        loop {
            let fetching = async {
                tokio::fs::create_dir_all(&self.directory).await?;
                fetch(&self.client, &object, &file, &self.settings).await
            };
            match fetching.await {
                Ok(done) => return done.map(|()| file).map_err(Failed::Object),
                Err(error) => tracing::warn!(object = part.object, %error, "not fetched yet; trying again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Why the database is not where the feed leads.
enum Failed {
    /// What the feed says, or the disk.
    Feed(Error),
    /// An object that is not what the task says of it.
    Object(String),
}

impl Failed {
    /// The same, with the name of the object that cannot be read.
    fn within(self, object: &str) -> Self {
        match self {
            Self::Feed(Error::Malformed(problem)) => Self::Object(format!("'{object}': {problem}")),
            other => other,
        }
    }
}
