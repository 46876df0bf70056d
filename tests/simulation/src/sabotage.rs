//! Rules that are switched off, one at a time, to show that the simulation finds what they protect from.
//!
//! Nothing of this is in the product: the rule is taken away where it meets the broker or the disk.

use bytes::Bytes;
use muster_broker::{Entry, Write, kv};
use serde_json::Value;

/// A rule that is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A page stores records and sets whatever they have become since they were read.
    RevisionsOfPages,
    /// A decision is stored although there is one.
    CreateOnly,
    /// A conflict does not make anybody look for the plan.
    PlanFirst,
    /// Who joins a group does not check that it has stayed as it was.
    GroupsAtPages,
    /// Functions with a level lane take tasks as they come, and do not look whether a newer one was quicker.
    Order,
    /// A stop does not create the next decision.
    StopDecides,
    /// Gateways do not look for stops.
    StopAtHandOver,
    /// The page does not tell the tasks that it takes agents from.
    Supersede,
    /// A task is admitted although its id is taken.
    AdmitOnce,
    /// The collector does not look whether another copy has written.
    CollectorRevisions,
    /// The collector takes everybody for a recipient.
    Recipients,
    /// "Started" is not on the agent's disk before it starts.
    StartedDurable,
    /// "Done" does not stay on the agent's disk.
    DoneDurable,
    /// The floor is above open tasks.
    Floor,
    /// The gateway confirms what it has not stored.
    ConfirmStored,
}

impl Sabotage {
    /// All.
    pub const ALL: &'static [Self] = &[
        Self::RevisionsOfPages,
        Self::CreateOnly,
        Self::PlanFirst,
        Self::GroupsAtPages,
        Self::Order,
        Self::StopDecides,
        Self::StopAtHandOver,
        Self::Supersede,
        Self::AdmitOnce,
        Self::CollectorRevisions,
        Self::Recipients,
        Self::StartedDurable,
        Self::DoneDurable,
        Self::Floor,
        Self::ConfirmStored,
    ];

    /// Takes the rule out of what is stored; a process that is left without writes is told that all is well.
    pub fn writes(self, process: &str, stream: &str, writes: &mut Vec<Write>) {
        let key = |write: &Write| kv::key("agents", &write.subject).unwrap_or_default().to_owned();
        let decides = |key: &str| ["plan.", "page.", "recipients.", "finish."].iter().any(|p| key.starts_with(p));
        match self {
            Self::RevisionsOfPages if stream == "KV_agents" && writes.iter().any(|w| key(w).starts_with("page.")) => {
                for write in writes.iter_mut().filter(|w| !decides(&key(w))) {
                    write.expect = None;
                }
            }
            Self::CreateOnly if stream == "KV_agents" => {
                for write in writes.iter_mut().filter(|w| decides(&key(w))) {
                    write.expect = None;
                }
            }
            Self::GroupsAtPages if stream == "KV_agents" => {
                for write in writes.iter_mut() {
                    let of_group = |(subject, _): &(String, u64)| subject.contains(".gmeta.");
                    if write.check.as_ref().is_some_and(of_group) {
                        write.check = None;
                    }
                }
            }
            Self::StopDecides if writes.iter().any(|w| key(w).starts_with("stop.")) => {
                writes.retain(|w| !decides(&key(w)));
            }
            Self::Supersede if stream == "RESULTS" => {
                writes.retain(|w| !text(w.body.as_ref()).contains("\"fact\":\"superseded\""));
            }
            Self::AdmitOnce if stream == "KV_tasks" && !process.starts_with("collector") => {
                writes.iter_mut().for_each(|write| write.expect = None);
            }
            Self::CollectorRevisions if process.starts_with("collector") => {
                writes.iter_mut().for_each(|write| write.expect = None);
            }
            Self::Floor => {
                for write in writes.iter_mut().filter(|w| key(w) == "floor") {
                    write.body = Some(Bytes::from_static(b"\"7-0\""));
                }
            }
            Self::ConfirmStored if process.starts_with("gateway") && stream == "RESULTS" => {
                writes.retain(|w| !w.subject.ends_with(".002"));
            }
            _ => {}
        }
    }

    /// Takes the rule out of what is read.
    pub fn entry(self, process: &str, stream: &str, entry: Entry) -> Option<Entry> {
        let key = kv::key("agents", &entry.subject).unwrap_or_default();
        match self {
            Self::PlanFirst if key.starts_with("plan.") && !process.starts_with("collector") => None,
            Self::StopAtHandOver if process.starts_with("gateway") && key.starts_with("stop.") => None,
            Self::Recipients
                if process.starts_with("collector") && key.starts_with("recipients.") && key.ends_with(".0") =>
            {
                let everybody: Vec<String> = (1..300).map(|n| n.to_string()).collect();
                Some(Entry { body: Some(format!("[{}]", everybody.join(",")).into()), ..entry })
            }
            Self::Order if stream == "KV_agents" && key.starts_with("id.") && is_function(process) => {
                Some(Entry { body: entry.body.as_ref().map(without_orders), ..entry })
            }
            _ => Some(entry),
        }
    }

    /// How many tasks a function with a level lane may take at once.
    pub const fn at_once(self) -> usize {
        if matches!(self, Self::Order) { 16 } else { 1 }
    }
}

fn is_function(process: &str) -> bool {
    process.starts_with("function")
}

fn text(body: Option<&Bytes>) -> String {
    body.map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default()
}

/// A record that does not say which task came last.
fn without_orders(body: &Bytes) -> Bytes {
    let Ok(mut record) = serde_json::from_slice::<Value>(body) else { return body.clone() };
    if let Some(lanes) = record["lanes"].as_object_mut() {
        lanes.values_mut().for_each(|lane| lane["order"] = "0-0".into());
    }
    record.to_string().into()
}
