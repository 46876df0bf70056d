//! What a plan looks at: the keys that its function declares, read and, where they may change, checked.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt;
use muster_broker::{Fault, Txn, decode, kv};
use muster_core::fleet::Fleet;
use muster_core::function::{Bound, Documents, Indexed, Key, Reads};
use muster_core::lane::Lane;
use muster_core::names::escape;
use muster_core::record::{Content, DEFAULT_GROUP, Group};
use muster_core::sca::Manifest;

use super::Context;
use super::changes::{group_key, index_key, name_key};

/// At most this many documents of a bucket are read.
const DOCUMENTS: usize = 10_000;

/// What is found at the keys that the function declares.
pub(super) async fn read(context: &Context, bound: &dyn Bound, txn: &mut Txn) -> Result<Reads, Fault> {
    let keys = bound.reads();
    txn.load(keys.iter().filter_map(stored_at)).await?;
    let mut reads = Reads::default();
    for key in keys {
        let at = stored_at(&key).unwrap_or_default();
        match key {
            Key::Agent(id) => reads.agents.extend(txn.get(&at)?.map(|agent| (id, agent))),
            Key::Group(name) => reads.groups.extend(txn.get(&at)?.map(|group| (name, group))),
            Key::Name(name) => reads.names.extend(txn.get(&at)?.map(|id| (name, id))),
            Key::Index(content) => {
                let Some(pointer) = txn.get::<Content>(&at)? else { continue };
                reads.index.insert(content.clone(), indexed(context, &content, pointer).await?);
            }
            Key::OfNodes(content) => {
                let Some(pointer) = of_nodes(context).await?.remove(&content) else { continue };
                reads.index.insert(content.clone(), indexed(context, &content, pointer).await?);
            }
            Key::Body(lane, digest) => {
                let found = body(context, &lane, &digest).await?;
                reads.bodies.extend(found.map(|body| (digest, body)));
            }
            Key::Manifest(lane, digest) => reads.bodies.extend(manifest(context, &lane, digest).await?),
            Key::Packages => reads.packages = packages(context).await?,
            Key::Documents(bucket) => reads.documents = documents(context, &bucket).await?,
        }
    }
    Ok(reads)
}

/// The key in the bucket of the chain, for what lies there.
pub(super) fn stored_at(key: &Key) -> Option<String> {
    match key {
        Key::Agent(id) => Some(format!("id.{}", escape(id))),
        Key::Group(name) => Some(group_key(name)),
        Key::Name(name) => Some(name_key(name)),
        Key::Index(content) => Some(index_key(content)),
        Key::Body(..) | Key::Manifest(..) | Key::OfNodes(_) | Key::Packages | Key::Documents(_) => None,
    }
}

/// A body as text; none when it is not stored.
async fn body(context: &Context, lane: &Lane, digest: &str) -> Result<Option<String>, Fault> {
    let Some((bucket, key)) = lane.body_at(digest) else { return Ok(None) };
    let subject = kv::subject(bucket, &key);
    let found = context.bus.get(&kv::stream(bucket), &subject).await?;
    found.and_then(|entry| entry.body).map(|body| text(&subject, body)).transpose()
}

/// A manifest with the bodies that it names, by digest. One that cannot be read comes alone: the function says why.
async fn manifest(context: &Context, lane: &Lane, digest: String) -> Result<BTreeMap<String, String>, Fault> {
    let mut bodies = BTreeMap::new();
    let Some(text) = body(context, lane, &digest).await? else { return Ok(bodies) };
    if let Ok(manifest) = Manifest::read(&text) {
        for (lane, named) in manifest.bodies() {
            bodies.extend(body(context, &lane, named).await?.map(|body| (named.to_owned(), body)));
        }
    }
    bodies.insert(digest, text);
    Ok(bodies)
}

/// A content with the body that it points to.
async fn indexed(context: &Context, content: &Lane, pointer: Content) -> Result<Indexed, Fault> {
    let body = match &pointer.digest {
        Some(digest) => body(context, content, digest).await?,
        None => None,
    };
    Ok(Indexed { pointer, body })
}

/// What all server nodes are to run with.
async fn of_nodes(context: &Context) -> Result<BTreeMap<Lane, Content>, Fault> {
    let (bucket, key) = (Fleet::Nodes.bucket(), group_key(DEFAULT_GROUP));
    let found = context.bus.get(&kv::stream(bucket), &kv::subject(bucket, &key)).await?;
    let Some(held) = found.and_then(|entry| entry.body) else { return Ok(BTreeMap::new()) };
    decode::<Group>(bucket, &key, &held).map(|group| group.contents)
}

/// The bodies of the packages that the server nodes are to hold, by name.
async fn packages(context: &Context) -> Result<BTreeMap<String, String>, Fault> {
    let mut packages = BTreeMap::new();
    for (lane, pointer) in of_nodes(context).await?.iter().filter(|(lane, _)| lane.kind() == Lane::PACKAGE) {
        let (Some(name), Some(digest)) = (lane.name(), pointer.in_force()) else { continue };
        packages.extend(body(context, lane, digest).await?.map(|body| (name.to_owned(), body)));
    }
    Ok(packages)
}

async fn documents(context: &Context, bucket: &str) -> Result<Documents, Fault> {
    let mut found = Documents::default();
    let mut entries = context.bus.scan(&kv::stream(bucket), &kv::subject(bucket, ">")).await?;
    while let Some(entry) = entries.next().await.transpose()? {
        found.revision = found.revision.max(entry.revision);
        let (Some(key), Some(body)) = (kv::key(bucket, &entry.subject), entry.body) else { continue };
        found.documents.insert(key.to_owned(), text(&entry.subject, body)?);
        if found.documents.len() > DOCUMENTS {
            return Err(Fault::Refused(format!("the bucket {bucket} holds more than {DOCUMENTS} documents")));
        }
    }
    Ok(found)
}

fn text(subject: &str, body: Bytes) -> Result<String, Fault> {
    String::from_utf8(body.into()).map_err(|_| Fault::Refused(format!("{subject} is not text")))
}
