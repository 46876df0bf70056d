//! Questions about tasks, groups and agents, and the one request that is none: `task.cancel`.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use muster_broker::{Fault, decode, kv};
use muster_core::findings::{BUCKET, Finding};
use muster_core::lane::Lane;
use muster_core::names::{escape, is_any_task_id, unescape};
use muster_core::numbers::Numbers;
use muster_core::problem::Problem;
use muster_core::query::Query;
use muster_core::record::{Agent, Group, Reported, agent_id, agent_number};
use muster_core::status::Status;
use muster_core::summary::{Stop, StopKind, Summary};
use muster_runtime::reply::{Answer, Error};
use muster_runtime::steps::{self, AGENTS, StopOutcome};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::submit::Submit;
use crate::{nodes, retry, targets, tasks};

/// The longest request, in bytes, and the longest list in an answer.
const MAX_REQUEST: usize = 64 * 1024;
pub(crate) const MAX_LIST: usize = 1000;

/// What the endpoints need.
pub(crate) struct Context {
    pub(crate) steps: muster_runtime::steps::Context,
    pub(crate) epoch: u32,
    pub(crate) submit: Submit,
    pub(crate) client: async_nats::Client,
}

/// What can be asked; each endpoint says which parts it needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    id: Option<String>,
    group: Option<String>,
    agent: Option<String>,
    node: Option<String>,
    of: Option<String>,
    pub(crate) user: Option<String>,
    reason: Option<String>,
    query: Option<String>,
    new_id: Option<String>,
    status: Option<Wanted>,
    pub(crate) limit: Option<usize>,
    after: Option<u32>,
    #[serde(flatten)]
    pub(crate) tasks: tasks::Filter,
}

/// One status, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Wanted {
    One(Status),
    Many(Vec<Status>),
}

/// Reads a request; an empty one asks for nothing in particular.
pub(crate) fn parse(body: &Bytes) -> Result<Asked, Error> {
    if body.len() > MAX_REQUEST {
        return Err(Error::Refused(413, vec![Problem::new("too-large", "", format!("at most {MAX_REQUEST} bytes"))]));
    }
    if body.is_empty() {
        return Ok(Asked::default());
    }
    serde_json::from_slice(body).map_err(|e| Error::Refused(400, vec![Problem::new("json", "", e.to_string())]))
}

/// Answers a question.
pub(crate) async fn ask(context: &Context, group: &str, name: &str, asked: Asked) -> Answer {
    match (group, name) {
        ("task", "get") => Ok(json!(summary(context, &need(asked.id, "id")?).await?)),
        ("task", "list") => tasks::list(context, &asked).await,
        ("task", "cancel") => cancel(context, asked).await,
        ("task", "retry") => {
            let old = summary(context, &need(asked.id, "id")?).await?;
            let status = match asked.status {
                None => Vec::new(),
                Some(Wanted::One(status)) => vec![status],
                Some(Wanted::Many(statuses)) => statuses,
            };
            retry::retry(context, &old, asked.new_id, status, asked.user).await
        }
        ("task", "targets") => {
            let task = summary(context, &need(asked.id, "id")?).await?;
            let status = match asked.status {
                None => None,
                Some(Wanted::One(status)) => Some(status),
                Some(Wanted::Many(_)) => {
                    return Err(Error::Refused(400, vec![Problem::new("schema", "/status", "one status is expected")]));
                }
            };
            targets::targets(context, &task, status, asked.after, asked.limit.unwrap_or(500).min(MAX_LIST)).await
        }
        ("group", "get") => self::group(context, &need(asked.group, "group")?).await,
        ("group", "list") => groups(context).await,
        ("group", "members") => members(context, &asked).await,
        ("node", "get") => nodes::get(context, &need(asked.node, "node")?).await,
        ("node", "list") => nodes::list(context).await,
        ("agent", "findings") => findings(context, asked).await,
        ("agent", "get") => agent(context, &need(asked.agent, "agent")?).await,
        _ => agents(context, &asked).await,
    }
}

fn need(value: Option<String>, name: &str) -> Result<String, Error> {
    let problem = || Problem::new("missing", format!("/{name}"), format!("'{name}' is required"));
    value.ok_or_else(|| Error::Refused(400, vec![problem()]))
}

pub(crate) async fn read<T: DeserializeOwned>(context: &Context, bucket: &str, key: &str) -> Result<Option<T>, Error> {
    let entry = context.steps.bus.get(&kv::stream(bucket), &kv::subject(bucket, key)).await?;
    Ok(entry.and_then(|e| e.body).map(|body| decode(bucket, key, &body)).transpose()?)
}

async fn summary(context: &Context, id: &str) -> Result<Summary, Error> {
    let missing = || Error::missing("task", id, "see: muster task list");
    if !is_any_task_id(id) {
        return Err(missing());
    }
    read(context, "tasks", id).await?.ok_or_else(missing)
}

async fn cancel(context: &Context, asked: Asked) -> Answer {
    let id = need(asked.id, "id")?;
    let reason = Stop { kind: StopKind::Cancelled, reason: asked.reason.unwrap_or_default(), user: asked.user };
    match stop(&context.steps, &id, &reason).await? {
        StopOutcome::Stopped => Ok(json!({ "id": id, "cancelled": true })),
        StopOutcome::Ended(state) => {
            let message = format!("the task '{id}' has ended already: {}", state.name());
            Err(Error::Refused(409, vec![Problem::new("ended", "/id", message)]))
        }
        StopOutcome::Unknown => Err(Error::missing("task", &id, "see: muster task list")),
    }
}

/// Stops a task. One that is unknown is waited for, two seconds: it may be published and not admitted yet.
///
/// # Errors
/// [`Fault::Unavailable`]: it may or may not be stopped; call again.
pub async fn stop(context: &steps::Context, id: &str, reason: &Stop) -> Result<StopOutcome, Fault> {
    for _ in 0..20 {
        match steps::stop(context, id, reason).await? {
            StopOutcome::Unknown if is_any_task_id(id) => context.clock.sleep(Duration::from_millis(100)).await,
            outcome => return Ok(outcome),
        }
    }
    Ok(StopOutcome::Unknown)
}

async fn group(context: &Context, name: &str) -> Answer {
    let group: Option<Group> = read(context, AGENTS, &format!("gmeta.{}", escape(name))).await?;
    let group = group.ok_or_else(|| Error::missing("group", name, "see: muster group list"))?;
    let mut content = Value::Null;
    let pointer = group.contents.get(&Lane::of(Lane::CONFIG)).and_then(|config| config.in_force());
    if let Some((bucket, key)) = pointer.and_then(|digest| Lane::config(name).body_at(digest)) {
        let entry = context.steps.bus.get(&kv::stream(bucket), &kv::subject(bucket, &key)).await?;
        content = entry.and_then(|e| e.body).map_or(Value::Null, |body| String::from_utf8_lossy(&body).into());
    }
    let members = member_set(context, name).await?.len();
    Ok(json!({ "name": name, "members": members, "life": group.life, "contents": group.contents, "config": content }))
}

async fn groups(context: &Context) -> Answer {
    let subjects = context.steps.bus.list(&kv::stream(AGENTS), &kv::subject(AGENTS, "gmeta.*")).await?;
    let mut out = Vec::new();
    for entry in context.steps.bus.get_many(&kv::stream(AGENTS), &subjects).await? {
        let Some(body) = entry.body else { continue };
        let group: Group = decode(AGENTS, &entry.subject, &body)?;
        let Some(name) = entry.subject.rsplit_once('.').and_then(|(_, token)| unescape(token)) else { continue };
        let members = member_set(context, &name).await?.len();
        let config = group.contents.get(&Lane::of(Lane::CONFIG));
        out.push(json!({
            "name": name, "life": group.life, "members": members,
            "revision": config.map(|c| c.revision), "digest": config.map(|c| &c.digest),
        }));
    }
    out.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    Ok(json!({ "groups": out }))
}

async fn member_set(context: &Context, group: &str) -> Result<Numbers, Error> {
    let filter = kv::subject(AGENTS, &format!("group.{}.*", escape(group)));
    let subjects = context.steps.bus.list(&kv::stream(AGENTS), &filter).await?;
    let mut members = Numbers::new();
    for entry in context.steps.bus.get_many(&kv::stream(AGENTS), &subjects).await? {
        if let Some(body) = entry.body {
            let part = Numbers::decode(&body)
                .map_err(|why| muster_broker::Fault::Refused(format!("{}: {why}", entry.subject)));
            members.union_with(&part?);
        }
    }
    Ok(members)
}

async fn members(context: &Context, asked: &Asked) -> Answer {
    let name = need(asked.group.clone(), "group")?;
    let members = member_set(context, &name).await?;
    let limit = asked.limit.unwrap_or(500).min(MAX_LIST);
    let page: Vec<String> = members.after(asked.after).take(limit).map(agent_id).collect();
    Ok(json!({ "group": name, "total": members.len(), "members": page }))
}

async fn agent(context: &Context, id: &str) -> Answer {
    let missing = || Error::missing("agent", id, "see: muster agent list");
    let number = agent_number(id).ok_or_else(missing)?;
    let agent: Agent = read(context, AGENTS, &format!("id.{}", agent_id(number))).await?.ok_or_else(missing)?;
    let reported: Option<Reported> = read(context, "reported", id).await?;
    Ok(json!({ "id": id, "desired": agent, "reported": reported }))
}

/// What an agent's modules have found: `of` says which.
async fn findings(context: &Context, asked: Asked) -> Answer {
    let (id, of) = (need(asked.agent, "agent")?, need(asked.of, "of")?);
    let refused = |why| Error::Refused(400, vec![Problem::new("schema", "/of", why)]);
    let of: Finding = of.parse().map_err(refused)?;
    let missing = || Error::missing("agent", &id, "see: muster agent list");
    let number = agent_number(&id).ok_or_else(missing)?;
    let agent: Option<Agent> = read(context, AGENTS, &format!("id.{}", agent_id(number))).await?;
    agent.filter(|agent| !agent.gone).ok_or_else(missing)?;
    let found: Option<Value> = read(context, BUCKET, &of.key(&id)).await?;
    Ok(json!({ "id": id, "of": of.name(), "findings": found }))
}

async fn agents(context: &Context, asked: &Asked) -> Answer {
    let query = asked.query.as_deref().map(Query::parse).transpose();
    let query = query.map_err(|why| Error::Refused(400, vec![Problem::new("query", "/query", why)]))?;
    let limit = asked.limit.unwrap_or(500).min(MAX_LIST);
    let mut all: Vec<Agent> = Vec::new();
    let mut reported = std::collections::HashMap::new();
    let mut entries = context.steps.bus.scan(&kv::stream("reported"), &kv::subject("reported", "*")).await?;
    while let Some(entry) = entries.next().await.transpose()? {
        if let (Some(body), Some(id)) = (entry.body, kv::key("reported", &entry.subject)) {
            reported.insert(id.to_owned(), decode::<Reported>("reported", id, &body)?);
        }
    }
    let mut entries = context.steps.bus.scan(&kv::stream(AGENTS), &kv::subject(AGENTS, "id.*")).await?;
    while let Some(entry) = entries.next().await.transpose()? {
        if let Some(body) = entry.body {
            all.push(decode(AGENTS, &entry.subject, &body)?);
        }
    }
    let (silent, now) = (Reported::default(), context.steps.clock.now());
    let of = |agent: &Agent| reported.get(&agent_id(agent.number)).unwrap_or(&silent);
    all.retain(|agent| !agent.gone && query.as_ref().is_none_or(|q| q.matches(agent, of(agent), now)));
    all.sort_by_key(|agent| agent.number);
    let total = all.len();
    let page =
        all.iter().filter(|agent| asked.after.is_none_or(|after| agent.number > after)).take(limit).map(|agent| {
            let reported = of(agent);
            json!({
                "id": agent_id(agent.number), "name": agent.name, "groups": agent.groups,
                "version": reported.version, "os": reported.os, "seen": reported.seen,
            })
        });
    Ok(json!({ "agents": page.collect::<Vec<_>>(), "total": total }))
}
