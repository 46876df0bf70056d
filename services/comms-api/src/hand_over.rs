//! The bytes of a hand-over. Commands and bodies are JSON already where they come from, and are copied as they are.

use std::collections::BTreeSet;

use bytes::Bytes;
use muster_broker::{Fault, encode};
use muster_core::message::{Command, HandOver, MAX_ATTACHED};
use muster_core::record::Entry;

use crate::bodies::Found;

/// The largest hand-over in bytes: some way below the server's limit for a message, 1 MiB.
pub const MAX_HAND_OVER: usize = 1_000_000;
/// Commands up to this much are put into one hand-over, in bytes.
pub const MAX_COMMANDS: usize = MAX_HAND_OVER - MAX_ATTACHED - 8 * 1024;

/// The digests that commands name, each once.
pub fn digests<'a>(commands: impl IntoIterator<Item = &'a Command>) -> BTreeSet<&'a str> {
    let entries = commands.into_iter().flat_map(|command| command.sets.values());
    entries.filter_map(|entry: &Entry| entry.digest.as_deref()).collect()
}

/// A hand-over with these commands (as JSON) and, of the bodies with these digests, as many as fit. The lists in `rest`
/// are not looked at.
///
/// # Errors
/// [`Fault::Refused`] when `rest` has no JSON form.
pub fn bytes<'a>(
    rest: HandOver,
    commands: &[Bytes],
    digests: impl IntoIterator<Item = &'a str>,
    bodies: &'a Found,
) -> Result<Bytes, Fault> {
    let rest = encode(&HandOver { commands: Vec::new(), bodies: Default::default(), ..rest })?;
    let attached = fitting(digests, bodies);
    let size = |parts: &[Bytes]| parts.iter().map(|part| part.len() + 1).sum::<usize>();
    let room = rest.len() + size(commands) + attached.iter().map(|(d, b)| d.len() + b.len() + 4).sum::<usize>() + 32;
    let mut out = Vec::with_capacity(room);
    let mut before: &[u8] = b"{";
    if !commands.is_empty() {
        out.extend_from_slice(b"{\"commands\":[");
        join(&mut out, commands.iter(), |out, command| out.extend_from_slice(command));
        out.push(b']');
        before = b",";
    }
    if !attached.is_empty() {
        out.extend_from_slice(before);
        out.extend_from_slice(b"\"bodies\":{");
        join(&mut out, attached.iter(), |out, (digest, body)| {
            // A digest whose body was found is hex: nothing in it needs an escape.
            out.push(b'"');
            out.extend_from_slice(digest.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(body);
        });
        out.push(b'}');
        before = b",";
    }
    match (rest.as_ref(), before) {
        (b"{}", b",") => out.push(b'}'),
        (rest, before) => {
            out.extend_from_slice(before);
            out.extend_from_slice(&rest[1..]);
        }
    }
    Ok(out.into())
}

/// The bodies, in the order in which they are named, that fit into one message; one that does not fit is passed over.
fn fitting<'a>(digests: impl IntoIterator<Item = &'a str>, bodies: &'a Found) -> Vec<(&'a str, &'a Bytes)> {
    let mut left = MAX_ATTACHED;
    let mut fits = |body: &Bytes| match left.checked_sub(body.len()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    digests.into_iter().filter_map(|d| bodies.get(d).filter(|body| fits(body)).map(|body| (d, body))).collect()
}

fn join<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    for (n, item) in items.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use muster_core::names::digest;
    use serde_json::json;

    use super::*;

    fn command(task: &str, digests: &[&str]) -> Command {
        let sets: BTreeMap<String, _> = digests
            .iter()
            .map(|d| (format!("config={d}"), json!({"version": "0-2", "order": "0-9", "task": task, "digest": d})))
            .collect();
        serde_json::from_value(json!({
            "request_id": task, "order_id": format!("{task}:007"), "target": {"type": "agent", "id": "007"},
            "action": {"name": "set-group", "args": {"groups": ["a \"quoted\" one"]}, "version": "1"},
            "order": "0-9", "timeout": 600, "deliver_until": "2026-11-23T21:10:00Z", "sets": sets,
        }))
        .unwrap()
    }

    fn encoded(rest: HandOver, commands: &[Command], bodies: &Found) -> HandOver {
        let json: Vec<Bytes> = commands.iter().map(|c| encode(c).unwrap()).collect();
        let bytes = bytes(rest, &json, digests(commands), bodies).unwrap();
        assert!(bytes.len() <= MAX_HAND_OVER);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_the_message() {
        let texts = ["localfile:\n  - \"x\"\n", "\u{1}\u{2028}"];
        let names: Vec<String> = texts.iter().map(|t| digest(t.as_bytes())).collect();
        let found: Found = names.iter().cloned().zip(texts.iter().map(|t| encode(t).unwrap())).collect();
        let bodies: BTreeMap<String, String> = names.iter().cloned().zip(texts.map(String::from)).collect();
        let one = command("t0-9", &[&names[0], &names[1]]);
        let two = command("t0-10", &[&names[1], "missing"]);
        for commands in [vec![], vec![one.clone()], vec![one, two]] {
            for rest in [
                HandOver::default(),
                HandOver { name: Some("web-1".into()), more: true, sync_after: Some(7), ..HandOver::default() },
            ] {
                let bodies = if commands.is_empty() { BTreeMap::new() } else { bodies.clone() };
                let expected = HandOver { commands: commands.clone(), bodies, ..rest.clone() };
                assert_eq!(encoded(rest, &commands, &found), expected);
            }
        }
    }

    #[test]
    fn bodies_that_do_not_fit_are_only_named() {
        let sizes = [("a", MAX_ATTACHED / 2), ("b", MAX_ATTACHED / 2 + 1), ("c", MAX_ATTACHED / 2 - 4), ("d", 100)];
        let found: Found = sizes.map(|(d, n)| (d.to_owned(), encode(&"x".repeat(n)).unwrap())).into();
        let over = encoded(HandOver::default(), &[command("t", &["a", "b", "c", "d"])], &found);
        assert_eq!(over.bodies.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(over.commands[0].sets.len(), 4);
    }
}
