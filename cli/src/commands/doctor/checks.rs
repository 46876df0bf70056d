//! From what was seen to what is to be said: pure.

use std::time::Duration;

use muster_broker::topology::Difference;
use muster_core::instant::Instant;
use serde::Serialize;

use super::look::{Consumer, Durability, Letter, Part, Seen, Storage};
use super::tasks;

/// The oldest server with all that the protocol rests on.
const OLDEST: &str = "2.15.0";
/// What waits longer than this for its reader is late.
pub(super) const LATE: Duration = Duration::from_secs(30);
/// At most so many things of one kind are named.
const NAMED: usize = 10;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// It is as it should be.
    Ok,
    /// It is good to know, such as what cannot be known from here.
    Note,
    /// It works, and may not for long.
    Warning,
    /// Something does not work.
    Error,
}

impl Severity {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// How much it matters.
    pub(super) severity: Severity,
    /// A stable word, for programs.
    pub(super) code: &'static str,
    /// What was found.
    pub(super) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) todo: Option<String>,
}

impl Check {
    pub(super) fn ok(code: &'static str, found: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, code, found: found.into(), todo: None }
    }

    pub(super) fn new(
        severity: Severity,
        code: &'static str,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { severity, code, found: found.into(), todo: Some(todo.into()) }
    }
}

/// Everything that was looked at: what is well is among it.
pub(super) fn checks(seen: &Seen) -> Vec<Check> {
    let mut out = vec![server(seen), storage(&seen.storage), durability(&seen.durability)];
    out.extend(topology(&seen.differences));
    out.extend(or_ok(consumers(&seen.consumers, seen.now), "consumers", || {
        format!("{} consumers, none is late", seen.consumers.len())
    }));
    out.extend(or_ok(parts(&seen.parts), "parts", || {
        let names: Vec<&str> = seen.parts.iter().map(|part| part.name.as_str()).collect();
        format!("all answer: {}", names.join(", "))
    }));
    out.extend(tasks::checks(&seen.open, &seen.delivered, seen.now));
    out.extend(or_ok(letters(&seen.letters), "parked", || "nothing is parked".to_owned()));
    out
}

fn or_ok(found: Vec<Check>, code: &'static str, ok: impl FnOnce() -> String) -> Vec<Check> {
    if found.is_empty() { vec![Check::ok(code, ok())] } else { found }
}

fn server(seen: &Seen) -> Check {
    let found = format!("nats-server {}, JetStream API level {}", seen.version, seen.api_level);
    if muster_core::version::compare(&seen.version, OLDEST).is_lt() {
        let todo = format!("use nats-server {OLDEST} or newer: message schedules and batches are needed");
        return Check::new(Severity::Error, "server", found, todo);
    }
    Check::ok("server", found)
}

fn storage(storage: &Storage) -> Check {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let Some(limit) = storage.limit else {
        let found = format!("{} MiB on disk, without a limit of the account", mib(storage.used));
        return Check::ok("storage", found);
    };
    let found = format!("{} of {} MiB on disk", mib(storage.used), mib(limit));
    match storage.used.saturating_mul(100) / limit.max(1) {
        0..80 => Check::ok("storage", found),
        80..95 => Check::new(Severity::Warning, "storage", found, "raise the account's max_file, or free space"),
        _ => Check::new(Severity::Error, "storage", found, "full means refused: raise the account's max_file now"),
    }
}

fn durability(durability: &Durability) -> Check {
    const TODO: &str = "set sync_interval: always in the server's jetstream block, else a crash of the machine can take \
                        what was acknowledged";
    match durability {
        Durability::Always => Check::ok("durability", "acknowledged means on disk (sync_interval: always)"),
        Durability::Every(interval) => {
            Check::new(Severity::Warning, "durability", format!("the disk is written every {interval} only"), TODO)
        }
        Durability::Unknown => Check::new(
            Severity::Note,
            "durability",
            "whether sync_interval is always cannot be known from this account: only the system account may ask the server",
            "look into the server's configuration, or let the system account export $SYS.REQ.SERVER.PING.JSZ to this one",
        ),
    }
}

fn topology(differences: &[Difference]) -> Vec<Check> {
    let missing: Vec<&str> = differences
        .iter()
        .filter_map(|d| match d {
            Difference::Missing { asset } => Some(asset.as_str()),
            Difference::Field { .. } => None,
        })
        .collect();
    let mut out = Vec::new();
    if !missing.is_empty() {
        let found = format!("{} missing: {}", missing.len(), named(&missing));
        out.push(Check::new(Severity::Error, "topology", found, "muster provision"));
    }
    for difference in differences {
        match difference {
            Difference::Missing { .. } => {}
            Difference::Field { safe: true, .. } => {
                out.push(Check::new(Severity::Warning, "topology", difference.to_string(), "muster provision --apply"));
            }
            Difference::Field { asset, field, .. } => {
                let todo = format!("change {field} of {asset} by hand, or live with it");
                out.push(Check::new(Severity::Warning, "topology", difference.to_string(), todo));
            }
        }
    }
    or_ok(out, "topology", || "every stream, bucket and consumer stands as its file says".to_owned())
}

fn named(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn consumers(consumers: &[Consumer], now: Instant) -> Vec<Check> {
    let mut out = Vec::new();
    for consumer in consumers {
        let Consumer { stream, name, pending, unacked, redelivered, readers, oldest, paused } = consumer;
        let age = oldest.map_or(Duration::ZERO, |at| now.since(at));
        let waits = format!("{stream}/{name}: {} wait, the oldest for {} s", pending + unacked, age.as_secs());
        if *paused {
            let todo = format!("nats consumer resume {stream} {name}");
            out.push(Check::new(Severity::Warning, "consumer-paused", format!("{stream}/{name} is paused"), todo));
        } else if age > LATE && *readers == 0 && *unacked == 0 {
            let todo = format!("nobody reads them: muster run {name}");
            out.push(Check::new(Severity::Error, "consumer-unread", waits, todo));
        } else if age > LATE {
            let todo =
                format!("look at the logs of {name}; more copies share the work, except of functions with a lane");
            out.push(Check::new(Severity::Warning, "consumer-late", waits, todo));
        }
        if *redelivered > 0 {
            let found = format!("{stream}/{name}: {redelivered} are delivered again");
            let todo = format!("a copy of {name} died or cannot go on; ten deliveries without a decision park a task");
            out.push(Check::new(Severity::Warning, "redelivered", found, todo));
        }
    }
    out
}

fn parts(parts: &[Part]) -> Vec<Check> {
    let mut out = Vec::new();
    for part in parts {
        if part.versions.is_empty() {
            let found = format!("{} does not answer", part.name);
            out.push(Check::new(Severity::Error, "part-missing", found, format!("muster run {}", part.name)));
        }
        let other: Vec<&String> = part.versions.iter().filter(|v| *v != env!("CARGO_PKG_VERSION")).collect();
        if let Some(other) = other.first() {
            let found = format!("{} is of version {other}, this program of {}", part.name, env!("CARGO_PKG_VERSION"));
            out.push(Check::new(Severity::Warning, "part-version", found, "run one version everywhere"));
        }
    }
    out
}

fn letters(letters: &[Letter]) -> Vec<Check> {
    let check = |letter: &Letter| {
        let Letter { subject, at, about, reason } = letter;
        let todo = format!(
            "nats stream get DEAD --last-for {subject}; after the repair submit it under a new id; then: nats stream \
             purge DEAD --subject {subject}"
        );
        Check::new(Severity::Warning, "parked", format!("{subject} ({about}, {at}): {reason}"), todo)
    };
    let mut out: Vec<Check> = letters.iter().take(NAMED).map(check).collect();
    if letters.len() > NAMED {
        let found = format!("{} more are in DEAD", letters.len() - NAMED);
        out.push(Check::new(Severity::Warning, "parked", found, "nats stream view DEAD"));
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// A system in which all is well.
    fn well() -> Seen {
        Seen {
            now: Instant(1_000_000),
            version: "2.15.1".into(),
            api_level: 4,
            storage: Storage { used: 10, limit: Some(100) },
            durability: Durability::Always,
            differences: Vec::new(),
            consumers: vec![consumer()],
            parts: vec![Part { name: "task-manager".into(), versions: vec![env!("CARGO_PKG_VERSION").into()] }],
            open: Vec::new(),
            delivered: BTreeMap::new(),
            letters: Vec::new(),
        }
    }

    fn consumer() -> Consumer {
        Consumer {
            stream: "TASKS".into(),
            name: "task-manager".into(),
            pending: 0,
            unacked: 0,
            redelivered: 0,
            readers: 1,
            oldest: None,
            paused: false,
        }
    }

    /// The codes of what is not well, with their severities.
    fn found(change: impl FnOnce(&mut Seen)) -> Vec<(Severity, &'static str)> {
        let mut seen = well();
        change(&mut seen);
        checks(&seen).into_iter().filter(|c| c.severity > Severity::Ok).map(|c| (c.severity, c.code)).collect()
    }

    #[test]
    fn all_is_well() {
        assert_eq!(found(|_| ()), []);
        let codes: Vec<&str> = checks(&well()).iter().map(|check| check.code).collect();
        assert_eq!(codes, ["server", "storage", "durability", "topology", "consumers", "parts", "tasks", "parked"]);
    }

    #[test]
    fn what_the_server_lacks() {
        assert_eq!(found(|s| s.version = "2.14.9".into()), [(Severity::Error, "server")]);
        assert_eq!(found(|s| s.storage.used = 85), [(Severity::Warning, "storage")]);
        assert_eq!(found(|s| s.storage.used = 99), [(Severity::Error, "storage")]);
        assert_eq!(found(|s| s.durability = Durability::Every("2m0s".into())), [(Severity::Warning, "durability")]);
        assert_eq!(found(|s| s.durability = Durability::Unknown), [(Severity::Note, "durability")]);
    }

    #[test]
    fn what_stands_otherwise() {
        let missing = |name: &str| Difference::Missing { asset: format!("stream {name}") };
        let field = |safe| Difference::Field {
            asset: "stream TASKS".into(),
            field: "max_age".into(),
            stands: json!(1),
            wanted: json!(2),
            safe,
        };
        assert_eq!(found(|s| s.differences = vec![missing("A"), missing("B")]), [(Severity::Error, "topology")]);
        assert_eq!(found(|s| s.differences = vec![field(true)]), [(Severity::Warning, "topology")]);
        let hint = |safe| topology(&[field(safe)])[0].todo.clone();
        assert_eq!(hint(true).as_deref(), Some("muster provision --apply"));
        assert_ne!(hint(false), hint(true));
    }

    #[test]
    fn who_is_late() {
        let with = |change: fn(&mut Consumer)| found(|s| change(&mut s.consumers[0]));
        // What came just now is not late, whoever reads it.
        assert_eq!(with(|c| (c.pending, c.readers, c.oldest) = (5, 0, Some(Instant(990_000)))), []);
        let error = [(Severity::Error, "consumer-unread")];
        assert_eq!(with(|c| (c.pending, c.readers, c.oldest) = (5, 0, Some(Instant(900_000)))), error);
        let late = [(Severity::Warning, "consumer-late")];
        assert_eq!(with(|c| (c.pending, c.oldest) = (5, Some(Instant(900_000)))), late);
        assert_eq!(with(|c| (c.unacked, c.readers, c.oldest) = (1, 0, Some(Instant(900_000)))), late);
        assert_eq!(with(|c| c.paused = true), [(Severity::Warning, "consumer-paused")]);
        assert_eq!(with(|c| c.redelivered = 2), [(Severity::Warning, "redelivered")]);
    }

    #[test]
    fn who_does_not_answer() {
        assert_eq!(found(|s| s.parts[0].versions.clear()), [(Severity::Error, "part-missing")]);
        assert_eq!(found(|s| s.parts[0].versions.push("9.9.9".into())), [(Severity::Warning, "part-version")]);
    }

    #[test]
    fn what_is_parked_is_told_and_bounded() {
        let letter = |n: usize| Letter {
            subject: format!("dead.tasks.{n}"),
            at: Instant(0),
            about: "tasks.group-assignment".into(),
            reason: "10 deliveries".into(),
        };
        let many: Vec<Letter> = (0..NAMED + 5).map(letter).collect();
        let told = letters(&many);
        assert_eq!(told.len(), NAMED + 1);
        assert!(told[0].found.contains("10 deliveries") && told[NAMED].found.starts_with("5 more"));
    }
}
