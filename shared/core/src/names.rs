//! Names: which ones are allowed, and the one escaped form they take in keys, subjects and file names.
//!
//! Every byte but `[A-Za-z0-9_-]` becomes `=hh` (lower-case hex), so two names never meet in one escaped form, and a
//! lane such as `config=<group>` splits at its first `=` because a lane's kind holds none.

use sha2::{Digest as _, Sha256};

/// The longest name accepted from outside, in bytes (the limit of Wazuh's group names).
pub const MAX_NAME: usize = 255;
/// The longest task id that a client may choose, in bytes.
pub const MAX_TASK_ID: usize = 48;
/// The longest file name that [`file_name`] gives, in bytes, before it is shortened to a digest.
const MAX_FILE_NAME: usize = 200;

fn plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

/// The escaped form of `name`, safe as a token of a subject and as a KV key.
pub fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for b in name.bytes() {
        if plain(b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("={b:02x}"));
        }
    }
    out
}

/// The name whose escaped form is `token`; `None` when no name has that form.
pub fn unescape(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&b, tail)) = rest.split_first() {
        if plain(b) {
            bytes.push(b);
            rest = tail;
        } else {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            let value = u8::from_str_radix(hex, 16).ok()?;
            if b != b'=' || plain(value) || hex.bytes().any(|h| h.is_ascii_uppercase() || h == b'+') {
                return None;
            }
            bytes.push(value);
            rest = &tail[2..];
        }
    }
    String::from_utf8(bytes).ok()
}

/// The escaped form of `name` for a file: beyond 200 bytes its first 100 and `=s` with the SHA-256 of the name.
pub fn file_name(name: &str) -> String {
    let escaped = escape(name);
    if escaped.len() <= MAX_FILE_NAME {
        return escaped;
    }
    format!("{}=s{}", &escaped[..100], digest(name.as_bytes()))
}

/// The SHA-256 of `bytes` in lower-case hex: how contents are named everywhere.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Whether `text` has the form that [`digest`] gives.
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether a client may choose this id for its task: `[A-Za-z0-9_-]{1,48}`, but not `t<epoch>-<place>`, the form of
/// the ids that the stream's place gives.
pub fn is_task_id(id: &str) -> bool {
    is_any_task_id(id) && !is_place_id(id)
}

/// Whether `id` can be a task's id at all, chosen or given.
pub fn is_any_task_id(id: &str) -> bool {
    (1..=MAX_TASK_ID).contains(&id.len()) && id.bytes().all(plain)
}

fn is_place_id(id: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    id.strip_prefix('t')
        .and_then(|rest| rest.split_once('-'))
        .is_some_and(|(epoch, place)| digits(epoch) && digits(place))
}

/// Whether this can be the id of an agent or a server node: `[A-Za-z0-9_-]{1,64}`.
pub fn is_recipient_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(plain)
}

/// Why `name` cannot be the name of a group; `None` when it can. Wazuh 4.x: `[A-Za-z0-9._-]{1,255}`, and neither `.`,
/// `..` nor `all`.
pub fn group_name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Some("a group name has 1 to 255 characters");
    }
    if matches!(name, "." | ".." | "all") {
        return Some("'.', '..' and 'all' are reserved");
    }
    (!name.bytes().all(|b| plain(b) || b == b'.'))
        .then_some("a group name consists of letters, digits, '.', '_' and '-'")
}

/// Why `name` cannot be the name of an agent; `None` when it can. Wazuh 5: 2 to 128 of `[A-Za-z0-9._-]`, no leading dot.
pub fn agent_name_fault(name: &str) -> Option<&'static str> {
    if !(2..=128).contains(&name.len()) {
        return Some("an agent's name has 2 to 128 characters");
    }
    if name.starts_with('.') {
        return Some("an agent's name does not start with a dot");
    }
    (!name.bytes().all(|b| plain(b) || b == b'.'))
        .then_some("an agent's name consists of letters, digits, '.', '_' and '-'")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_two_names_meet(a in ".*", b in ".*") {
            prop_assert_eq!(a == b, escape(&a) == escape(&b));
            prop_assert_eq!(a == b, file_name(&a) == file_name(&b));
        }

        #[test]
        fn an_escaped_name_comes_back(name in ".*") {
            let token = escape(&name);
            prop_assert!(token.bytes().all(|b| plain(b) || b == b'='));
            prop_assert_eq!(unescape(&token), Some(name));
        }

        #[test]
        fn only_escaped_forms_are_unescaped(token in "[a-f0-9=A-F]{0,12}") {
            if let Some(name) = unescape(&token) {
                prop_assert_eq!(escape(&name), token);
            }
        }

        #[test]
        fn file_names_are_bounded(name in ".{0,400}") {
            prop_assert!(file_name(&name).len() <= MAX_FILE_NAME);
        }
    }

    #[test]
    fn ids() {
        assert!(is_task_id("rollout-7_a") && is_task_id("t7") && is_task_id("t7-x"));
        assert!(!is_task_id("t0-17") && is_any_task_id("t0-17"));
        assert!(!is_task_id("") && !is_task_id("a.b") && !is_task_id("a*") && !is_task_id(&"x".repeat(49)));
        assert!(group_name_fault("web.eu-1").is_none() && group_name_fault("...").is_none());
        assert!(
            group_name_fault("a>b").is_some()
                && group_name_fault("all").is_some()
                && group_name_fault(&"x".repeat(256)).is_some()
        );
        assert!(
            agent_name_fault(".x").is_some()
                && agent_name_fault("x").is_some()
                && agent_name_fault("Web-1.local").is_none()
        );
    }
}
