//! From a target to numbers: the sets of the leaves are read from the buckets, the algebra is the core's.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt;
use muster_broker::{Fault, decode, kv};
use muster_core::fleet::Fleet;
use muster_core::names::escape;
use muster_core::numbers::Numbers;
use muster_core::query::Query;
use muster_core::record::{Agent, Reported, agent_id, agent_number};
use muster_core::status::{Facts, Mark, Status};
use muster_core::target::Target;

use super::{AGENTS, Context};

/// Whom a target means now.
pub(super) async fn resolve(context: &Context, fleet: Fleet, target: &Target) -> Result<Numbers, Fault> {
    let mut leaves = BTreeMap::new();
    for (pointer, leaf) in target.leaves("") {
        leaves.insert(pointer, self::leaf(context, fleet, leaf).await?);
    }
    Ok(target.evaluate(&leaves, ""))
}

async fn leaf(context: &Context, fleet: Fleet, leaf: &Target) -> Result<Numbers, Fault> {
    Ok(match leaf {
        Target::Servers(ids) if ids.is_empty() => all(context, fleet).await?,
        Target::Agents(ids) | Target::Servers(ids) => ids.iter().filter_map(|id| agent_number(id)).collect(),
        Target::Groups(names) => {
            let filters: Vec<String> = names.iter().map(|name| format!("group.{}.*", escape(name))).collect();
            cut(context, fleet, &filters).await?.1
        }
        Target::All => all(context, fleet).await?,
        Target::Query(text) => query(context, text).await?,
        Target::Failures(task, status) => failures(context, fleet, task, status).await?,
        Target::Any(_) | Target::Without(..) => Numbers::new(),
    })
}

/// Every recipient that is enrolled and not gone.
async fn all(context: &Context, fleet: Fleet) -> Result<Numbers, Fault> {
    let (sets, _) = cut(context, fleet, &["enrolled.*".into(), "gone.*".into()]).await?;
    Ok(sets[0].minus(&sets[1]))
}

/// The sets under each filter, and all of them together, as they were at one moment: an agent that moves from one
/// group to another while both are read is in one of them. After four tries the last reading is taken.
async fn cut(context: &Context, fleet: Fleet, filters: &[String]) -> Result<(Vec<Numbers>, Numbers), Fault> {
    let bucket = fleet.bucket();
    let mut before = None;
    for _ in 0..4 {
        let mut readings = Vec::new();
        for filter in filters {
            let subjects = context.bus.list(&kv::stream(bucket), &kv::subject(bucket, filter)).await?;
            readings.push(sets(context, bucket, &subjects).await?);
        }
        if before.as_ref() == Some(&readings) {
            break;
        }
        before = Some(readings);
    }
    let parts: Vec<Numbers> = before.unwrap_or_default().into_iter().map(union).collect();
    let mut all = Numbers::new();
    parts.iter().for_each(|part| all.union_with(part));
    Ok((parts, all))
}

fn union(sets: BTreeMap<String, (u64, Numbers)>) -> Numbers {
    sets.into_values().fold(Numbers::new(), |mut all, (_, part)| {
        all.union_with(&part);
        all
    })
}

/// The sets at these subjects with their revisions; what is not there is left out.
pub(super) async fn sets(
    context: &Context,
    bucket: &str,
    subjects: &[String],
) -> Result<BTreeMap<String, (u64, Numbers)>, Fault> {
    if subjects.is_empty() {
        return Ok(BTreeMap::new());
    }
    let entries = context.bus.get_many(&kv::stream(bucket), subjects).await?;
    let sets = entries.into_iter().filter_map(|entry| {
        let body: Bytes = entry.body?;
        let set = Numbers::decode(&body).map_err(|why| Fault::Refused(format!("{}: {why}", entry.subject)));
        Some(set.map(|set| (entry.subject, (entry.revision, set))))
    });
    sets.collect()
}

/// Those of the ids that were ever enrolled. Enrolment is for ever, so a later look would find no fewer.
pub(super) async fn enrolled_among(context: &Context, fleet: Fleet, ids: &[String]) -> Result<Numbers, Fault> {
    let mut containers: Vec<u16> = ids.iter().filter_map(|id| agent_number(id)).map(Numbers::container).collect();
    containers.sort_unstable();
    containers.dedup();
    let bucket = fleet.bucket();
    let subjects: Vec<String> = containers.iter().map(|c| kv::subject(bucket, &format!("enrolled.{c}"))).collect();
    Ok(union(sets(context, bucket, &subjects).await?))
}

async fn query(context: &Context, text: &str) -> Result<Numbers, Fault> {
    let query = Query::parse(text).map_err(Fault::Refused)?;
    let mut reported: BTreeMap<String, Reported> = BTreeMap::new();
    if query.reads_reports() {
        let mut entries = context.bus.scan(&kv::stream("reported"), &kv::subject("reported", "*")).await?;
        while let Some(entry) = entries.next().await.transpose()? {
            if let (Some(body), Some(id)) = (entry.body, kv::key("reported", &entry.subject)) {
                reported.insert(id.to_owned(), decode("reported", id, &body)?);
            }
        }
    }
    let (silent, now) = (Reported::default(), context.clock.now());
    let mut found = Numbers::new();
    let mut entries = context.bus.scan(&kv::stream(AGENTS), &kv::subject(AGENTS, "id.*")).await?;
    while let Some(entry) = entries.next().await.transpose()? {
        let Some(body) = entry.body else { continue };
        let agent: Agent = decode(AGENTS, &entry.subject, &body)?;
        if !agent.gone && query.matches(&agent, reported.get(&agent_id(agent.number)).unwrap_or(&silent), now) {
            found.insert(agent.number);
        }
    }
    Ok(found)
}

/// The recipients of a task that have one of these statuses now; failure, timeout or expired when none is named.
async fn failures(context: &Context, fleet: Fleet, task: &str, wanted: &[Status]) -> Result<Numbers, Fault> {
    let wanted = if wanted.is_empty() { &[Status::Failure, Status::Timeout, Status::Expired] } else { wanted };
    let (_, partition) = partition(context, fleet, task).await?;
    let mut found = Numbers::new();
    for numbers in wanted.iter().filter_map(|status| partition.get(status)) {
        found.union_with(numbers);
    }
    Ok(found)
}

/// What is known of a task's recipients: the facts, and who has which status.
///
/// # Errors
/// [`Fault::Unavailable`].
pub async fn partition(
    context: &Context,
    fleet: Fleet,
    task: &str,
) -> Result<(Facts, BTreeMap<Status, Numbers>), Fault> {
    let filter = kv::subject("sets", &format!("{task}.>"));
    let subjects = context.bus.list(&kv::stream("sets"), &filter).await?;
    let mut facts = Facts::default();
    for (subject, (_, numbers)) in sets(context, "sets", &subjects).await? {
        if let Some((mark, _)) = kv::key("sets", &subject).and_then(|key| Mark::parse(task, key)) {
            facts.add(mark, &numbers);
        }
    }
    let bucket = fleet.bucket();
    let filter = kv::subject(bucket, &format!("recipients.{task}.*"));
    let subjects = context.bus.list(&kv::stream(bucket), &filter).await?;
    let partition = facts.partition(&union(sets(context, bucket, &subjects).await?));
    Ok((facts, partition))
}
