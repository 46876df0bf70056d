//! What the CTI feed sends: records of a snapshot, and changes. The form is that of Wazuh's CTI API, contexts
//! `vd_1.0.0` and `vulnerabilities`.

use json_patch::Patch;
use muster_core::problem::Problem;
use serde::Deserialize;
use serde_json::Value;

use crate::patch;

/// The largest record, in bytes of JSON.
pub const MAX_RECORD: usize = 8 * 1024 * 1024;
/// The largest answer with changes, in bytes.
pub const MAX_BATCH: usize = 64 * 1024 * 1024;
/// The most changes in one answer: the API gives no more.
pub const MAX_CHANGES: usize = 1000;
/// The longest name of a record, in bytes.
pub const MAX_NAME: usize = 256;

/// A record of the feed: a line of a snapshot. Most are CVEs, named by their ids; others (`TID-0039`, `FEED-GLOBAL`) say how to read
/// the feed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Record {
    /// `CVE-2024-6387`
    pub name: String,
    /// The offset of the change that made the record what it is.
    pub offset: u64,
    /// How often it has changed.
    pub version: u64,
    /// For a CVE a record of CVE JSON 5.x. Always an object.
    pub payload: Value,
}

impl Record {
    /// Reads a line of a snapshot.
    ///
    /// # Errors
    /// When it is no record, or larger than [`MAX_RECORD`].
    pub fn parse(line: &[u8]) -> Result<Self, Problem> {
        check_size(line, MAX_RECORD, "a record")?;
        let record: Self = serde_json::from_slice(line).map_err(|error| json_problem(&error))?;
        check_name(&record.name, "/name")?;
        check_payload(&record.payload, "/payload")?;
        Ok(record)
    }
}

/// The changes between two offsets: the answer to `changes?from_offset=<from>&to_offset=<to>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The offset that the changes follow.
    pub from: u64,
    /// The offset that is reached with them.
    pub to: u64,
    /// In the order of their offsets. An offset without a change concerns what this feed does not show.
    pub changes: Vec<Change>,
}

/// One change of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its offset.
    pub offset: u64,
    /// The record's name.
    pub resource: String,
    /// The record's version afterwards.
    pub version: u64,
    /// What happens to it.
    pub action: Action,
}

/// What a change does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The record is this now.
    Create(Value),
    /// The record's payload is patched.
    Update(Patch),
    /// The record goes.
    Delete,
}

#[derive(Deserialize)]
struct WireBatch {
    data: Vec<WireChange>,
}

#[derive(Deserialize)]
struct WireChange {
    #[serde(rename = "type")]
    kind: String,
    resource: String,
    offset: u64,
    #[serde(default)]
    version: u64,
    payload: Option<Value>,
    operations: Option<Vec<Value>>,
}

impl Batch {
    /// Reads `{"data": [change, ...]}`, the answer to a question for the changes after `from` up to and with `to`.
    ///
    /// # Errors
    /// When it is no such answer, is too large, or holds changes out of order or outside of what was asked for.
    pub fn parse(from: u64, to: u64, body: &[u8]) -> Result<Self, Problem> {
        check_size(body, MAX_BATCH, "an answer with changes")?;
        if from > to {
            return Err(Problem::new("offsets", "", format!("from {from} to {to} is no way forward")));
        }
        let wire: WireBatch = serde_json::from_slice(body).map_err(|error| json_problem(&error))?;
        if wire.data.len() > MAX_CHANGES {
            let message = format!("{} changes; an answer has at most {MAX_CHANGES}", wire.data.len());
            return Err(Problem::new("too-many-changes", "/data", message));
        }
        let mut last = from;
        let mut changes = Vec::with_capacity(wire.data.len());
        for (number, change) in wire.data.into_iter().enumerate() {
            let at = format!("/data/{number}");
            if change.offset <= last || change.offset > to {
                let message = format!("offset {} is not between {last} and {to}", change.offset);
                return Err(Problem::new("offsets", at + "/offset", message));
            }
            last = change.offset;
            changes.push(change.read(&at)?);
        }
        Ok(Self { from, to, changes })
    }
}

impl WireChange {
    fn read(self, at: &str) -> Result<Change, Problem> {
        check_name(&self.resource, &format!("{at}/resource"))?;
        let missing =
            |member: &str| Problem::new("schema", format!("{at}/{member}"), format!("a {} needs it", self.kind));
        let action = match self.kind.as_str() {
            "create" => {
                let payload = self.payload.ok_or_else(|| missing("payload"))?;
                check_payload(&payload, &format!("{at}/payload"))?;
                Action::Create(payload)
            }
            "update" => {
                let operations = self.operations.ok_or_else(|| missing("operations"))?;
                Action::Update(patch::parse(operations, &format!("{at}/operations"))?)
            }
            "delete" => Action::Delete,
            other => {
                let message = format!("{other:.40} is no change: create, update, delete");
                return Err(Problem::new("schema", format!("{at}/type"), message));
            }
        };
        Ok(Change { offset: self.offset, resource: self.resource, version: self.version, action })
    }
}

fn check_size(bytes: &[u8], limit: usize, what: &str) -> Result<(), Problem> {
    if bytes.len() > limit {
        return Err(Problem::new("too-large", "", format!("{} bytes; {what} has at most {limit}", bytes.len())));
    }
    Ok(())
}

fn check_name(name: &str, pointer: &str) -> Result<(), Problem> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Problem::new("schema", pointer, format!("a name has 1 to {MAX_NAME} bytes")));
    }
    Ok(())
}

fn check_payload(payload: &Value, pointer: &str) -> Result<(), Problem> {
    if !payload.is_object() {
        return Err(Problem::new("schema", pointer, "a payload is an object"));
    }
    patch::check_depth(payload, pointer)
}

fn json_problem(error: &serde_json::Error) -> Problem {
    Problem::new("json", "", error.to_string())
}
