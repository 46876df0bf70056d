//! What a recipient says of itself: the report of a virtual fleet, or the ledger and the files of a real agent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("ledger");

/// How often a task was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Did {
    /// Well.
    pub good: u64,
    /// Badly.
    pub bad: u64,
}

/// What a recipient says of itself.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// The groups that it was told to be in.
    pub groups: Vec<String>,
    /// What it runs with: `groups`, `configurations`, `contents`.
    pub in_force: Value,
    /// The lanes that it has taken.
    pub lanes: BTreeMap<String, Value>,
    /// The tasks of edge commands that it started, with what came of each; none when it is not over.
    pub edges: BTreeMap<String, Option<Value>>,
    /// The tasks whose results were not confirmed to it.
    pub unconfirmed: Vec<String>,
    /// How often it did what each task asks; none when it keeps no diary.
    pub did: Option<BTreeMap<String, Did>>,
    /// How often the program of an active response was run for each task; none for a virtual agent.
    pub ran: Option<BTreeMap<String, u64>>,
    /// The SHA-256 of files below its directory; empty for a virtual agent.
    pub files: BTreeMap<String, String>,
}

/// Reads the report of a virtual fleet: a line of JSON for each agent.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn fleet(path: &Path) -> Result<BTreeMap<u32, Account>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.lines().map(|line| virtual_agent(&serde_json::from_str(line)?)).collect()
}

pub(crate) fn virtual_agent(line: &Value) -> Result<(u32, Account)> {
    let number = line["agent"].as_str().and_then(|id| id.parse().ok()).context("a line without an agent")?;
    let did = |(task, did): (&String, &Value)| {
        let n = |key: &str| did[key].as_u64().unwrap_or_default();
        (task.clone(), Did { good: n("good"), bad: n("bad") })
    };
    let account = Account {
        groups: texts(&line["groups"]),
        in_force: line["in_force"].clone(),
        lanes: by(&line["lanes"], "lane"),
        edges: by(&line["edges"], "task").into_iter().map(|(task, edge)| (task, outcome(&edge))).collect(),
        unconfirmed: texts(&line["unconfirmed"]),
        did: line["did"].as_object().map(|tasks| tasks.iter().map(did).collect()),
        ..Account::default()
    };
    Ok((number, account))
}

/// Reads the ledger of a recipient that is not running, and the digests of the files of its contents. `ran` is the file
/// to which its program adds a line with the task each time it is run.
///
/// # Errors
/// When the ledger cannot be read.
pub(crate) fn real(root: &Path, ran: Option<&Path>) -> Result<(u32, Account)> {
    let rows = rows(&root.join("ledger.redb"))?;
    let identity = root.join(if ran.is_some() { "agent.json" } else { "node.json" });
    let identity: Value =
        serde_json::from_slice(&fs::read(&identity).with_context(|| identity.display().to_string())?)?;
    let number = identity["id"].as_str().and_then(|id| id.parse().ok()).context("an identity without an id")?;
    let under = |kind: &'static str| {
        rows.iter().filter_map(move |(key, row)| Some((key.strip_prefix(kind)?.to_owned(), row.clone())))
    };
    let account = Account {
        groups: rows.get("groups").map(texts).unwrap_or_default(),
        in_force: rows.get("in-force").cloned().unwrap_or(json!({})),
        lanes: under("lane/").collect(),
        edges: under("edge/").map(|(task, edge)| (task, outcome(&edge))).collect(),
        unconfirmed: under("result/").map(|(task, _)| task).collect(),
        did: None,
        ran: ran.map(|file| lines(&root.join(file))),
        files: ["groups", "content/active-response"].iter().flat_map(|folder| files(root, folder)).collect(),
    };
    Ok((number, account))
}

fn rows(path: &Path) -> Result<BTreeMap<String, Value>> {
    let database = Database::open(path).with_context(|| path.display().to_string())?;
    let table = database.begin_read()?.open_table(ROWS)?;
    let mut rows = BTreeMap::new();
    for row in table.iter()? {
        let (key, value) = row?;
        if key.value() != "id" {
            rows.insert(key.value().to_owned(), serde_json::from_slice(value.value())?);
        }
    }
    Ok(rows)
}

/// How often each line is in the file.
fn lines(path: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().fold(BTreeMap::new(), |mut counts, line| {
        *counts.entry(line.to_owned()).or_default() += 1;
        counts
    })
}

/// The digests of the files in a folder of a recipient's directory and in the folders below it.
fn files(root: &Path, folder: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    let digests = entries.flat_map(|entry| {
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match fs::read(entry.path()) {
            Ok(bytes) => vec![(name, hex(&Sha256::digest(bytes)))],
            Err(_) => files(root, &name),
        }
    });
    digests.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn by(list: &Value, key: &str) -> BTreeMap<String, Value> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| Some((item[key].as_str()?.to_owned(), item.clone()))).collect()
}

fn outcome(edge: &Value) -> Option<Value> {
    Some(edge["outcome"].clone()).filter(|outcome| !outcome.is_null())
}
