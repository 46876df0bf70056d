//! The messages between the agent and a program: one line of JSON each, in the form of Wazuh 4.x (its documentation,
//! "Custom active response").

use serde::Serialize;
use serde_json::{Map, Value};

use crate::alert::Alert;

/// The longest line that a program of 4.x reads, with its end, in bytes.
pub(crate) const MAX_LINE: usize = 65_535;
/// The longest question that is looked at, in bytes, as in 4.x.
pub(crate) const MAX_QUESTION: usize = 8 * 1024;
/// All keys of a question together, in bytes, as in 4.x.
const MAX_KEYS: usize = 4 * 1024;
/// Who speaks, as 4.x says it: programs may look for the word.
const MODULE: &str = "wazuh-execd";

/// What a program is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// The action.
    Add,
    /// Its undoing.
    Delete,
}

impl Command {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Delete => "delete",
        }
    }
}

/// What a program that asks `check_keys` is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It may act.
    Continue,
    /// It must not: the same is in force already.
    Abort,
}

#[derive(Serialize)]
struct Message<'a, P> {
    version: u8,
    origin: Origin<'a>,
    command: &'a str,
    parameters: P,
}

#[derive(Serialize)]
struct Origin<'a> {
    name: &'a str,
    module: &'a str,
}

#[derive(Serialize)]
struct Parameters<'a> {
    extra_args: &'a [String],
    alert: &'a Alert,
    program: &'a str,
}

/// The line that tells a program what to do. `agent` says who tells it.
///
/// # Errors
/// When it is longer than 65,535 bytes; the text says so.
pub(crate) fn order(
    command: Command,
    agent: &str,
    program: &str,
    extra_args: &[String],
    alert: &Alert,
) -> Result<String, String> {
    let line = line(agent, command.word(), Parameters { extra_args, alert, program });
    if line.len() > MAX_LINE {
        return Err(format!("the message has {} bytes; programs read at most {MAX_LINE}", line.len()));
    }
    Ok(line)
}

/// The line that answers `check_keys`.
pub(crate) fn answer(agent: &str, answer: Answer) -> String {
    let word = match answer {
        Answer::Continue => "continue",
        Answer::Abort => "abort",
    };
    line(agent, word, Map::new())
}

fn line(agent: &str, command: &str, parameters: impl Serialize) -> String {
    let message = Message { version: 1, origin: Origin { name: agent, module: MODULE }, command, parameters };
    // It has no keys but texts, so it can always be written.
    let mut line = serde_json::to_string(&message).unwrap_or_default();
    line.push('\n');
    line
}

/// The keys of a line that asks `check_keys`; `None` when it is another line.
///
/// # Errors
/// When it asks, but not for a list of texts of at most 4 KiB together.
pub(crate) fn question(line: &[u8]) -> Option<Result<Vec<String>, &'static str>> {
    let message: Value = serde_json::from_slice(line).ok()?;
    if message["command"] != "check_keys" {
        return None;
    }
    let keys = message["parameters"]["keys"].as_array().and_then(|keys| {
        let texts = keys.iter().map(|key| key.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<_>>>()
    });
    Some(match keys {
        None => Err("check_keys needs parameters.keys, a list of texts"),
        Some(keys) if keys.iter().map(String::len).sum::<usize>() > MAX_KEYS => {
            Err("check_keys takes at most 4 KiB of keys")
        }
        Some(keys) => Ok(keys),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_form_of_wazuh() {
        let alert = Alert::new(json!({"data": {"srcip": "10.0.0.1\n"}})).unwrap();
        let line = order(Command::Add, "web-1", "/a/active-response/bin/x", &["a b".into()], &alert).unwrap();
        assert_eq!(
            line,
            "{\"version\":1,\"origin\":{\"name\":\"web-1\",\"module\":\"wazuh-execd\"},\"command\":\"add\",\"parameters\":\
             {\"extra_args\":[\"a b\"],\"alert\":{\"data\":{\"srcip\":\"10.0.0.1\\n\"}},\"program\":\"/a/active-response/bin/x\"}}\n"
        );
        assert_eq!(
            answer("web-1", Answer::Abort),
            "{\"version\":1,\"origin\":{\"name\":\"web-1\",\"module\":\"wazuh-execd\"},\"command\":\"abort\",\"parameters\":{}}\n"
        );
    }

    #[test]
    fn the_largest_alert_and_arguments_fit() {
        let alert = Alert::new(json!({"a": "x".repeat(crate::MAX_ALERT - 8)})).unwrap();
        let arguments = vec!["x".repeat(1000); 8];
        let path = format!("/{}", "p".repeat(4095));
        assert!(order(Command::Delete, &"n".repeat(128), &path, &arguments, &alert).is_ok());
        assert!(order(Command::Delete, &"n".repeat(9000), &path, &arguments, &alert).is_err());
    }

    #[test]
    fn questions() {
        let ask = |text: &str| question(text.as_bytes());
        let asked = r#"{"version":1,"origin":{"name":"x","module":"active-response"},"command":"check_keys","parameters":{"keys":["10.0.0.1","root"]}}"#;
        assert_eq!(ask(asked), Some(Ok(vec!["10.0.0.1".into(), "root".into()])));
        assert_eq!(ask(r#"{"command":"check_keys","parameters":{"keys":[]}}"#), Some(Ok(vec![])));
        for text in ["", "check_keys", "[]", "{}", "{\"command\":\"add\"}", "{\"command\":\"check_keys\""] {
            assert_eq!(ask(text), None, "{text}");
        }
        for keys in ["null", "\"x\"", "[1]"] {
            let text = format!("{{\"command\":\"check_keys\",\"parameters\":{{\"keys\":{keys}}}}}");
            assert!(ask(&text).unwrap().is_err(), "{text}");
        }
        let long = format!("{{\"command\":\"check_keys\",\"parameters\":{{\"keys\":[\"{}\"]}}}}", "x".repeat(5000));
        assert!(ask(&long).unwrap().is_err());
    }

    proptest! {
        #[test]
        fn any_line_is_answered(line in prop::collection::vec(any::<u8>(), 0..100)) {
            let _question = question(&line);
        }
    }
}
