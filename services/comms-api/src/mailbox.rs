//! Messages of COMMANDS and RUNS, and the edge commands that wait for an agent.

use bytes::Bytes;
use muster_broker::{Bus, Entry, Fault};
use muster_core::instant::Instant;
use muster_core::message::Command;
use muster_core::names::{is_any_task_id, is_recipient_id};
use muster_core::stamp::Stamp;

use crate::hand_over::MAX_COMMANDS;
use crate::stops;

const RUNS: &str = "RUNS";
/// The largest message of a command, in bytes.
pub const MAX_COMMAND: usize = 64 * 1024;
/// At most so many edge commands in one hand-over.
const MAX_RUNS: usize = 256;

/// So many waiting edge commands of one agent are looked at to find the oldest; there are 256 where nothing is wrong.
const MAX_LOOKED_AT: usize = 10_000;

/// Reads a command message; the subject is `commands.agent.<agent>.set.<lane>` or `commands.agent.<agent>.run.<task>`.
///
/// # Errors
/// Why it can never be handed over.
pub fn read(subject: &str, body: &[u8]) -> Result<Command, String> {
    if body.len() > MAX_COMMAND {
        return Err(format!("{} bytes, where {MAX_COMMAND} are allowed", body.len()));
    }
    let command: Command = serde_json::from_slice(body).map_err(|e| format!("not a command: {e}"))?;
    let tokens: Vec<&str> = subject.split('.').collect();
    let fits = match tokens[..] {
        ["commands", "agent", agent, "set", _] => agent == command.target.id && !command.sets.is_empty(),
        ["commands", "agent", agent, "run", task] => agent == command.target.id && task == command.request_id,
        _ => false,
    };
    if !fits || !is_recipient_id(&command.target.id) || !is_any_task_id(&command.request_id) {
        return Err(format!("the command is not what its subject {subject} says"));
    }
    Ok(command)
}

/// Edge commands that wait for an agent.
#[derive(Debug, Default)]
pub struct Runs {
    /// The messages, oldest first, as many as fit into one hand-over.
    pub messages: Vec<Bytes>,
    /// Whether there are more.
    pub more: bool,
    /// Subjects of messages that nobody waits for any more.
    pub over: Vec<String>,
}

/// The edge commands that wait for an agent and are neither expired nor stopped. Those below the floor are over too:
/// their tasks have ended, and the agent, which has forgotten them, would neither start nor report them. `taken` bytes of
/// the hand-over are taken already.
///
/// # Errors
/// [`Fault::Unavailable`].
pub async fn runs(bus: &Bus, agent: &str, now: Instant, floor: Stamp, taken: usize) -> Result<Runs, Fault> {
    let mut subjects = bus.list(RUNS, &format!("commands.agent.{agent}.run.*")).await?;
    let mut runs = Runs { more: subjects.len() > MAX_LOOKED_AT, ..Runs::default() };
    subjects.truncate(MAX_LOOKED_AT);
    if subjects.is_empty() {
        return Ok(runs);
    }
    let mut entries = bus.get_many(RUNS, &subjects).await?;
    entries.sort_unstable_by_key(|entry| entry.revision);
    let alive = entries.into_iter().filter_map(|entry| Alive::at(entry, now));
    let (over, alive): (Vec<Alive>, Vec<Alive>) = alive.partition(|run| run.order < floor);
    runs.over.extend(over.into_iter().map(|run| run.subject));
    let mut size = taken;
    // Stops are asked for only as far as needed.
    for part in alive.chunks(MAX_RUNS) {
        if runs.messages.len() == MAX_RUNS {
            runs.more = true;
            break;
        }
        let stopped = stops::among(bus, part.iter().map(|run| run.task.clone()).collect()).await?;
        for run in part {
            if stopped.contains(&run.task) {
                runs.over.push(run.subject.clone());
            } else if runs.messages.len() < MAX_RUNS && size + run.body.len() < MAX_COMMANDS {
                size += run.body.len() + 1;
                runs.messages.push(run.body.clone());
            } else {
                runs.more = true;
                return Ok(runs);
            }
        }
    }
    Ok(runs)
}

/// An edge command that has not expired.
struct Alive {
    subject: String,
    task: String,
    order: Stamp,
    body: Bytes,
}

impl Alive {
    fn at(entry: Entry, now: Instant) -> Option<Self> {
        let body = entry.body?;
        // One that cannot be read is parked by whoever pulls it.
        let command = read(&entry.subject, &body).ok().filter(|command| command.deliver_until > now)?;
        Some(Self { subject: entry.subject, task: command.request_id, order: command.order, body })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn command(id: &str, task: &str, sets: Value) -> Vec<u8> {
        json!({
            "request_id": task, "order_id": format!("{task}:{id}"), "target": {"type": "agent", "id": id},
            "action": {"name": "x", "version": "1"}, "order": "0-9", "timeout": 600,
            "deliver_until": "2026-11-23T21:10:00Z", "sets": sets,
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn a_command_is_what_its_subject_says() {
        let level = command("007", "t0-9", json!({"groups": {"version": "0-2", "order": "0-9", "task": "t0-9"}}));
        assert!(read("commands.agent.007.set.groups", &level).is_ok());
        assert!(read("commands.agent.008.set.groups", &level).is_err());
        let edge = command("007", "t0-9", json!({}));
        assert!(read("commands.agent.007.run.t0-9", &edge).is_ok());
        assert!(read("commands.agent.007.run.t0-8", &edge).is_err());
        assert!(read("commands.agent.007.set.groups", &edge).is_err());
        assert!(read("commands.agent.007.run.t0-9", b"{}").is_err());
        assert!(read("commands.agent.007.run.t0-9", &vec![b' '; MAX_COMMAND + 1]).unwrap_err().contains("65537"));
    }
}
