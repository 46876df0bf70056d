//! Streams, buckets and consumers: what there is, making it, and checking it. The files under `nats/` say it all.

mod asset;
mod difference;
mod files;

use std::fmt;

use async_nats::Client;
use muster_core::record::{DEFAULT_GROUP, Group};

use self::asset::{Asset, Outcome};
pub use self::difference::Difference;
use crate::nats::NatsBroker;
use crate::{Broker, Fault, Write, encode, kv};

/// What [`provision`] did and found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// What was missing and stands now.
    pub created: Vec<String>,
    /// What was changed.
    pub updated: Vec<String>,
    /// What stands otherwise than its file says.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Whether all stands as the files say.
    pub fn is_in_place(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.created.iter().try_for_each(|asset| writeln!(f, "created {asset}"))?;
        self.updated.iter().try_for_each(|asset| writeln!(f, "updated {asset}"))?;
        self.differences.iter().try_for_each(|difference| writeln!(f, "{difference}"))?;
        match self {
            Self { created, updated, differences }
                if created.is_empty() && updated.is_empty() && differences.is_empty() =>
            {
                f.write_str("all is in place\n")
            }
            _ => Ok(()),
        }
    }
}

/// Makes what is missing, with so many replicas of each stream, and the first keys. What stands and differs is only
/// reported, unless `apply` is set: then it is changed as far as nothing stored can be lost by it. Several may run it
/// at once, and again at any time.
///
/// # Errors
/// [`Fault::Refused`] when the server does not accept a file, [`Fault::Unavailable`].
pub async fn provision(client: &Client, replicas: usize, apply: bool) -> Result<Report, Fault> {
    let mut report = Report::default();
    for asset in assets(Some(replicas))? {
        let left = match asset.provision(client, apply).await? {
            Outcome::Stood(left) => left,
            Outcome::Created => {
                report.created.push(asset.name());
                Vec::new()
            }
            Outcome::Updated(left) => {
                report.updated.push(asset.name());
                left
            }
        };
        report.differences.extend(left);
    }
    let broker = NatsBroker::new(client.clone());
    for (key, value) in first_keys()? {
        match broker.commit(&kv::stream("agents"), vec![Write::put("agents", key.as_str(), value, 0)]).await {
            Ok(_) => report.created.push(format!("key agents/{key}")),
            Err(Fault::Conflict) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(report)
}

/// What is missing or stands otherwise than its file says; the number of replicas does not count.
///
/// # Errors
/// [`Fault::Unavailable`].
pub async fn verify(client: &Client) -> Result<Vec<Difference>, Fault> {
    let mut differences = Vec::new();
    for asset in assets(None)? {
        differences.extend(asset.verify(client).await?);
    }
    Ok(differences)
}

/// Makes the consumer of a server node's commands, unless it stands, and gives its name.
///
/// # Errors
/// [`Fault::Refused`] when it stands otherwise than its template says, [`Fault::Unavailable`].
pub async fn node_consumer(client: &Client, node: &str) -> Result<String, Fault> {
    let asset = Asset::consumer("COMMANDS", &files::NODE.replace("{node}", node))?;
    match asset.provision(client, true).await? {
        Outcome::Stood(left) | Outcome::Updated(left) if !left.is_empty() => {
            let left: Vec<String> = left.iter().map(ToString::to_string).collect();
            Err(Fault::Refused(left.join("; ")))
        }
        _ => Ok(format!("server-{node}")),
    }
}

/// The files of streams and buckets.
#[cfg(feature = "memory")]
pub(crate) const fn stream_files() -> &'static [&'static str] {
    files::STREAMS
}

/// The files of consumers, each with its stream.
#[cfg(feature = "memory")]
pub(crate) const fn consumer_files() -> &'static [(&'static str, &'static str)] {
    files::CONSUMERS
}

/// Streams before their consumers.
fn assets(replicas: Option<usize>) -> Result<Vec<Asset>, Fault> {
    let streams = files::STREAMS.iter().map(|file| Asset::stream(file, replicas));
    let consumers = files::CONSUMERS.iter().map(|(stream, file)| Asset::consumer(stream, file));
    streams.chain(consumers).collect()
}

/// The keys of the bucket `agents` that stand from the start.
pub(crate) fn first_keys() -> Result<Vec<(String, bytes::Bytes)>, Fault> {
    Ok(vec![(format!("gmeta.{DEFAULT_GROUP}"), encode(&Group::alive(None))?), ("epoch".to_owned(), encode(&0)?)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn json_files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        let files = files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "json"));
        files.chain(folders.iter().flat_map(|folder| json_files(folder))).collect()
    }

    #[test]
    fn every_file_is_in_the_list() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../nats"));
        let found: BTreeSet<String> = json_files(root).iter().map(|p| std::fs::read_to_string(p).unwrap()).collect();
        let listed = files::STREAMS.iter().chain(files::CONSUMERS.iter().map(|(_, file)| file));
        assert_eq!(found, listed.map(|file| (*file).to_owned()).collect());
    }

    #[test]
    fn a_file_is_called_as_what_it_makes() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../nats"));
        for (stream, file) in files::CONSUMERS {
            let value: serde_json::Value = serde_json::from_str(file).unwrap();
            let path = format!("consumers/{stream}/{}.json", value["durable_name"].as_str().unwrap());
            assert_eq!(std::fs::read_to_string(root.join(&path)).unwrap(), *file, "{path}");
        }
        for file in files::STREAMS {
            let value: serde_json::Value = serde_json::from_str(file).unwrap();
            let name = value["name"].as_str().unwrap();
            let folder = if name.starts_with("KV_") { "buckets" } else { "streams" };
            let path = format!("{folder}/{name}.json");
            assert_eq!(std::fs::read_to_string(root.join(&path)).unwrap(), *file, "{path}");
        }
    }

    #[test]
    fn room_for_consumers_is_explicit_everywhere() {
        for file in files::STREAMS {
            let value: serde_json::Value = serde_json::from_str(file).unwrap();
            assert!(value["max_consumers"].as_u64().is_some_and(|n| n > 0), "{}", value["name"]);
        }
    }
}
