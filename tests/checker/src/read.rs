//! Reads a quiet system: its streams and buckets over NATS, the accounts of recipients from files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use async_nats::Client;
use serde_json::{Value, json};

use crate::account;
use crate::numbers;
use crate::schemas::Schemas;
use crate::world::{Index, Reports, Task, Violation, World};

mod scan;

use self::scan::{Stored, scan};

/// Reads the system again and again; what only grows is read once.
pub struct Reader {
    client: Client,
    schemas: Schemas,
    reports: BTreeMap<String, Reports>,
    /// The place in RESULTS up to which reports were read.
    read: u64,
    unreadable: Vec<Violation>,
    validated: u64,
}

impl Reader {
    /// A reader over a connection that may read everything, with the folder of the schemas.
    ///
    /// # Errors
    /// When the schemas cannot be read.
    pub fn new(client: Client, schemas: &Path) -> Result<Self> {
        let schemas = Schemas::of(schemas)?;
        Ok(Self { client, schemas, reports: BTreeMap::new(), read: 0, unreadable: Vec::new(), validated: 0 })
    }

    /// Everything that the server holds. With `deadlines` also those of tasks, which go away up to two minutes after
    /// the tasks' ends.
    ///
    /// # Errors
    /// When something cannot be read at all.
    pub async fn world(&mut self, deadlines: bool) -> Result<World> {
        let mut world = World { tasks: self.tasks().await?, ..World::default() };
        for (bucket, index) in [("agents", &mut world.agents), ("nodes", &mut world.nodes)] {
            for entry in scan(&self.client, &format!("KV_{bucket}"), 1).await? {
                self.index(&entry, bucket, index, &mut world.tasks)?;
            }
        }
        for entry in scan(&self.client, "KV_sets", 1).await? {
            let Some((id, rest)) = key(&entry.subject, "sets").split_once('.') else { continue };
            let Some((mark, _)) = rest.rsplit_once('.') else { continue };
            if let Some(task) = world.tasks.get_mut(id) {
                *task.sets.entry(mark.to_owned()).or_default() |= numbers::of_key(&entry.body)?;
            }
        }
        for entry in scan(&self.client, "KV_reported", 1).await? {
            self.document(&entry, "reported");
        }
        for entry in scan(&self.client, "COMMANDS", 1).await? {
            self.document(&entry, "command");
        }
        for entry in scan(&self.client, "RUNS", 1).await? {
            self.document(&entry, "command");
            if let ["commands", _, agent, "run", task] = entry.subject.split('.').collect::<Vec<_>>()[..] {
                world.runs.push((agent.to_owned(), task.to_owned()));
            }
        }
        for entry in scan(&self.client, "DEAD", 1).await? {
            let letter = self.document(&entry, "dead-letter").unwrap_or_default();
            world.dead.push(format!("{} {}: {}", entry.subject, letter["subject"], letter["reason"]));
        }
        if deadlines {
            let subjects = scan(&self.client, "SCHEDULE", 1).await?.into_iter().map(|entry| entry.subject);
            let tasks = subjects.filter_map(|subject| subject.strip_prefix("schedule.at.").map(str::to_owned));
            world.deadlines = Some(tasks.collect());
        }
        self.reports().await?;
        world.behind = self.behind().await?;
        world.reports = self.reports.clone();
        world.unreadable = self.unreadable.clone();
        world.validated = self.validated;
        Ok(world)
    }

    /// Adds the report of a virtual fleet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn fleet(&self, world: &mut World, report: &Path) -> Result<()> {
        world.accounts.extend(account::fleet(report)?);
        Ok(())
    }

    /// Adds a real agent that is not running; `ran` is where its program adds lines, relative to its directory.
    ///
    /// # Errors
    /// When its ledger cannot be read.
    pub fn agent(&self, world: &mut World, root: &Path, ran: &Path) -> Result<()> {
        world.accounts.extend([account::real(root, Some(ran))?]);
        Ok(())
    }

    /// Adds a server node that is not running.
    ///
    /// # Errors
    /// When its ledger cannot be read.
    pub fn node(&self, world: &mut World, root: &Path) -> Result<()> {
        world.node_accounts.extend([account::real(root, None)?]);
        Ok(())
    }

    /// The tasks that were stored, with their summaries. The first message with an id has it; the same again is nothing
    /// new, and another one with this id goes under the id of its place.
    async fn tasks(&mut self) -> Result<BTreeMap<String, Task>> {
        let mut summaries = BTreeMap::new();
        for entry in scan(&self.client, "KV_tasks", 1).await? {
            if let Some(summary) = self.document(&entry, "summary") {
                summaries.insert(key(&entry.subject, "tasks").to_owned(), summary);
            }
        }
        let mut tasks: BTreeMap<String, Task> = BTreeMap::new();
        for entry in scan(&self.client, "TASKS", 1).await? {
            let kind = entry.subject.strip_prefix("tasks.").unwrap_or_default().to_owned();
            let body: Value = serde_json::from_slice(&entry.body).unwrap_or_default();
            let place = format!("t0-{}", entry.place);
            let mut id = body["id"].as_str().map_or_else(|| place.clone(), str::to_owned);
            match tasks.get_mut(&id) {
                Some(first) if first.kind == kind && first.body == body => {
                    first.places.push(entry.place);
                    continue;
                }
                Some(_) => id = place,
                None => {}
            }
            let summary = summaries.remove(&id);
            let accepted = summary.as_ref().is_some_and(|summary| summary["state"] != "rejected");
            self.validated += 1;
            if let Some(fault) = self.schemas.fault(&kind, &body).filter(|_| accepted) {
                self.unreadable.push(Violation::new("schema", &entry.subject, fault));
            }
            tasks.insert(id, Task { kind, places: vec![entry.place], body, summary, ..Task::default() });
        }
        let strange = summaries.into_keys().map(|id| Violation::new("task-unknown", id, "a summary without a task"));
        self.unreadable.extend(strange);
        Ok(tasks)
    }

    /// One key of the bucket `agents` or `nodes`.
    fn index(
        &mut self,
        entry: &Stored,
        bucket: &str,
        index: &mut Index,
        tasks: &mut BTreeMap<String, Task>,
    ) -> Result<()> {
        let key = key(&entry.subject, bucket);
        let (kind, name) = key.split_once('.').unwrap_or((key, ""));
        let set = || numbers::of_key(&entry.body).with_context(|| entry.subject.clone());
        match (kind, name) {
            ("id", _) => {
                if let Some(record) = self.document(entry, "agent")
                    && let Some(number) = record["number"].as_u64().and_then(|n| u32::try_from(n).ok())
                {
                    index.records.insert(number, record);
                }
            }
            ("gmeta", group) => {
                if let Some(document) = self.document(entry, "group") {
                    index.groups.insert(unescape(group), document);
                }
            }
            ("group", name) => {
                let group = name.rsplit_once('.').map_or(name, |(group, _)| group);
                *index.members.entry(unescape(group)).or_default() |= set()?;
            }
            ("enrolled", _) => index.enrolled |= set()?,
            ("gone", _) => index.gone |= set()?,
            ("name", name) => {
                index.names.insert(unescape(name), serde_json::from_slice(&entry.body)?);
            }
            ("plan", id) => self.chain(entry, "plan", tasks, id, |task, plan| task.plan = Some(plan)),
            ("stop", id) => self.chain(entry, "", tasks, id, |task, stop| task.stop = Some(stop)),
            ("recipients", id) => match id.split_once('.') {
                None => self.chain(entry, "recipients", tasks, id, |task, head| task.head = Some(head)),
                Some((id, _)) => {
                    let part = set()?;
                    tasks.entry(id.to_owned()).and_modify(|task| task.recipients |= part);
                }
            },
            ("page", id) => {
                let (id, n) = id.split_once('.').unwrap_or((id, ""));
                let n: u32 = n.parse().with_context(|| entry.subject.clone())?;
                self.chain(entry, "page", tasks, id, |task, page| drop(task.pages.insert(n, page)));
            }
            _ => {}
        }
        Ok(())
    }

    fn chain(
        &mut self,
        entry: &Stored,
        schema: &str,
        tasks: &mut BTreeMap<String, Task>,
        id: &str,
        put: impl FnOnce(&mut Task, Value),
    ) {
        let Some(document) = self.document(entry, schema) else { return };
        match tasks.get_mut(id) {
            Some(task) => put(task, document),
            None => self.unreadable.push(Violation::new("task-unknown", id, format!("{} is there", entry.subject))),
        }
    }

    /// What was added to RESULTS since the last time.
    async fn reports(&mut self) -> Result<()> {
        loop {
            let part = scan::part(&self.client, "RESULTS", self.read + 1).await?;
            let Some(last) = part.last().map(|entry| entry.place) else { return Ok(()) };
            for entry in &part {
                self.report(entry)?;
            }
            self.read = last;
        }
    }

    fn report(&mut self, entry: &Stored) -> Result<()> {
        let mut tokens = entry.subject.split('.');
        let (kind, id) = (tokens.next().unwrap_or_default(), tokens.next().unwrap_or_default());
        let schema = if kind == "facts" { "fact" } else { "stored-result" };
        let Some(document) = self.document(entry, schema) else { return Ok(()) };
        let reports = self.reports.entry(id.to_owned()).or_default();
        let number = || document["number"].as_u64().and_then(|n| u32::try_from(n).ok());
        let set = || numbers::of_document(&document["numbers"]);
        match (kind, document["status"].as_str(), document["fact"].as_str()) {
            ("starts", ..) => reports.started.extend(number()),
            (_, Some("success"), _) => reports.success.extend(number()),
            (_, Some("failure"), _) => reports.failure.extend(number()),
            (_, _, Some("superseded")) => {
                let by = document["by"].as_str().unwrap_or_default().to_owned();
                *reports.superseded.entry(by).or_default() |= set()?;
            }
            (_, _, Some("gone")) => reports.gone |= set()?,
            (_, _, Some("stopped")) => reports.stopped = true,
            _ => {}
        }
        Ok(())
    }

    /// A stored message as JSON; `None`, and a violation, when it is none. Without a schema it is not validated.
    fn document(&mut self, entry: &Stored, schema: &str) -> Option<Value> {
        let document: Value = match serde_json::from_slice(&entry.body) {
            Ok(document) => document,
            Err(error) => {
                self.unreadable.push(Violation::new("schema", &entry.subject, format!("no JSON: {error}")));
                return None;
            }
        };
        if !schema.is_empty() {
            self.validated += 1;
            let fault = self.schemas.fault(schema, &document);
            self.unreadable.extend(fault.map(|fault| Violation::new("schema", &entry.subject, fault)));
        }
        Some(document)
    }

    /// What the durable consumers have not done.
    async fn behind(&self) -> Result<Vec<(String, String, u64, u64)>> {
        let mut behind = Vec::new();
        for stream in ["TASKS", "COMMANDS", "RUNS", "RESULTS"] {
            let subject = format!("$JS.API.CONSUMER.LIST.{stream}");
            let answer = self.client.request(subject, json!({ "offset": 0 }).to_string().into()).await?;
            let answer: Value = serde_json::from_slice(&answer.payload)?;
            for consumer in answer["consumers"].as_array().into_iter().flatten() {
                let n = |key: &str| consumer[key].as_u64().unwrap_or_default();
                let name = consumer["config"]["durable_name"].as_str().unwrap_or_default();
                behind.push((stream.to_owned(), name.to_owned(), n("num_pending"), n("num_ack_pending")));
            }
        }
        Ok(behind)
    }
}

fn key<'a>(subject: &'a str, bucket: &str) -> &'a str {
    subject.strip_prefix("$KV.").and_then(|rest| rest.strip_prefix(bucket)).map_or("", |rest| &rest[1..])
}

/// The name whose escaped form this is: `=hh` is a byte.
pub(crate) fn unescape(token: &str) -> String {
    let mut parts = token.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        bytes.extend(u8::from_str_radix(code, 16).ok());
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        assert_eq!(
            (unescape("web"), unescape("web=2eeu=3d"), key("$KV.agents.id.001", "agents")),
            ("web".into(), "web.eu=".into(), "id.001")
        );
    }
}
