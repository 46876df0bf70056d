//! A task from flags: whom it concerns, what it is to do, and its options.

use std::io::Read;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Args;
use muster_core::task::MAX_TASK;
use serde_json::{Map, Value, json};

/// Whom a task concerns. Several flags mean whoever is in one of them.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct Whom {
    /// The target as JSON, such as '{"from":{"type":"all"},"without":{"type":"group","id":"db"}}'
    #[arg(long, value_name = "JSON", value_parser = json_value, conflicts_with_all = ["agent", "group", "all", "query", "failures"])]
    target: Option<Value>,
    /// These agents, such as 001,002
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    agent: Vec<String>,
    /// The members of these groups
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    group: Vec<String>,
    /// Every agent
    #[arg(long)]
    all: bool,
    /// The agents that fit, such as 'version < 5.0 and os = linux'
    #[arg(long)]
    query: Option<String>,
    /// The agents with which this task failed, timed out or expired
    #[arg(long, value_name = "TASK")]
    failures: Option<String>,
}

impl Whom {
    /// The members of one group.
    pub(crate) fn group(name: String) -> Self {
        Self { group: vec![name], ..Self::default() }
    }

    /// The target, when a flag names one.
    pub(crate) fn target(&self) -> Option<Value> {
        let ids = |ids: &[String]| if let [one] = ids { json!(one) } else { json!(ids) };
        let mut parts: Vec<Value> = self.target.iter().cloned().collect();
        for (kind, list) in [("agent", &self.agent), ("group", &self.group)] {
            if !list.is_empty() {
                parts.push(json!({ "type": kind, "id": ids(list) }));
            }
        }
        if self.all {
            parts.push(json!({ "type": "all" }));
        }
        for (kind, id) in [("query", &self.query), ("failures", &self.failures)] {
            parts.extend(id.as_ref().map(|id| json!({ "type": kind, "id": id })));
        }
        if parts.len() > 1 { Some(json!({ "any": parts })) } else { parts.pop() }
    }
}

/// Options of every task.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Task")]
pub(crate) struct Options {
    /// An id of your own: the same task under the same id is done once
    #[arg(long)]
    id: Option<String>,
    /// Until when its commands may wait for agents: a time, or a duration such as 5m or 30d
    #[arg(long, value_name = "TIME")]
    deliver_until: Option<String>,
    /// How many seconds a started command may run
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Who asks
    #[arg(long)]
    user: Option<String>,
    /// Which system asks
    #[arg(long)]
    source: Option<String>,
}

impl Options {
    fn fields(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let texts =
            [("id", &self.id), ("deliver_until", &self.deliver_until), ("user", &self.user), ("source", &self.source)];
        let texts = texts.map(|(name, text)| Some((name, json!(text.as_ref()?))));
        let timeout = self.timeout.map(|seconds| ("timeout", json!(seconds)));
        texts.into_iter().chain([timeout]).flatten()
    }
}

/// The task with this target, these arguments and options.
pub(crate) fn task(whom: &Whom, args: Value, options: &Options) -> Value {
    let mut task = Map::new();
    task.extend(whom.target().map(|target| ("target".to_owned(), target)));
    task.insert("args".to_owned(), args);
    task.extend(options.fields().map(|(name, value)| (name.to_owned(), value)));
    Value::Object(task)
}

/// A written task with what the flags say in place of, or beside, what it says itself. Without flags its bytes stay as
/// they are, so that it is the same task as one that `nats pub` sends.
///
/// # Errors
/// When there are flags and it is no JSON object.
pub(crate) fn amended(
    written: &[u8],
    whom: &Whom,
    args: Map<String, Value>,
    options: &Options,
) -> anyhow::Result<Bytes> {
    let target = whom.target().map(|target| ("target", target));
    let fields: Vec<_> = target.into_iter().chain(options.fields()).collect();
    if fields.is_empty() && args.is_empty() && !written.is_empty() {
        return Ok(Bytes::copy_from_slice(written));
    }
    let written = if written.is_empty() { b"{}" } else { written };
    let task = serde_json::from_slice(written).context("the task is no JSON")?;
    let Value::Object(mut task) = task else { bail!("the task is no JSON object") };
    task.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    if let Value::Object(all) = task.entry("args").or_insert_with(|| json!({})) {
        all.extend(args);
    }
    Ok(Value::Object(task).to_string().into())
}

/// The bytes of a file, of stdin for `-`; at most as many as a task may have.
pub(crate) fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin().lock()),
        _ => Box::new(std::fs::File::open(file).with_context(|| format!("the file {file} cannot be read"))?),
    };
    let mut bytes = Vec::new();
    let most = MAX_TASK as u64;
    source.take(most + 1).read_to_end(&mut bytes).with_context(|| format!("the file {file} cannot be read"))?;
    ensure!(bytes.len() as u64 <= most, "{file} has more than {most} bytes, the most that a task may have");
    Ok(bytes)
}

/// The text of a file, as [`read`].
pub(crate) fn read_text(file: &str) -> anyhow::Result<String> {
    String::from_utf8(read(file)?).with_context(|| format!("{file} is not UTF-8"))
}

/// JSON as the value of a flag.
pub(crate) fn json_value(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use muster_core::target::Target;

    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn flags_name_a_target_that_the_core_reads() {
        let target = |whom: Whom| serde_json::from_value::<Target>(whom.target().unwrap()).unwrap();
        assert_eq!(Whom::default().target(), None);
        assert_eq!(target(Whom { all: true, ..Whom::default() }), Target::All);
        assert_eq!(target(Whom { group: list(&["web"]), ..Whom::default() }), Target::Groups(list(&["web"])));
        assert_eq!(
            target(Whom { failures: Some("t0-1".into()), ..Whom::default() }),
            Target::Failures("t0-1".into(), vec![])
        );
        let both = Whom { agent: list(&["001", "002"]), query: Some("os = linux".into()), ..Whom::default() };
        let parts = vec![Target::Agents(list(&["001", "002"])), Target::Query("os = linux".into())];
        assert_eq!(target(both), Target::Any(parts));
    }

    #[test]
    fn a_task_without_flags_stays_as_it_is() {
        let written = br#"{ "target": {"type":"all"},"args":{} }"#;
        let none = (Whom::default(), Options::default());
        assert_eq!(amended(written, &none.0, Map::new(), &none.1).unwrap(), written.as_slice());
        // Even when it is none: the task-manager says best what is wrong with it.
        assert_eq!(amended(b"{", &none.0, Map::new(), &none.1).unwrap(), b"{".as_slice());
    }

    #[test]
    fn flags_go_before_what_is_written() {
        let written = br#"{"target":{"type":"all"},"args":{"a":1,"b":1},"user":"ada","id":"x"}"#;
        let whom = Whom { agent: list(&["001"]), ..Whom::default() };
        let options = Options { id: Some("y".into()), timeout: Some(9), ..Options::default() };
        let task = amended(written, &whom, object(json!({"b": 2})), &options).unwrap();
        let expected = json!({"target": {"type": "agent", "id": "001"}, "args": {"a": 1, "b": 2}, "user": "ada", "id": "y", "timeout": 9});
        assert_eq!(serde_json::from_slice::<Value>(&task).unwrap(), expected);
    }

    #[test]
    fn flags_alone_are_a_task() {
        let whom = Whom { all: true, ..Whom::default() };
        let made = amended(b"", &whom, object(json!({"x": 1})), &Options::default()).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&made).unwrap(),
            json!({"target": {"type": "all"}, "args": {"x": 1}})
        );
        assert_eq!(task(&whom, json!({"x": 1}), &Options::default()), serde_json::from_slice::<Value>(&made).unwrap());
        assert_eq!(
            amended(b"", &Whom::default(), Map::new(), &Options::default()).unwrap(),
            br#"{"args":{}}"#.as_slice()
        );
    }

    #[test]
    fn what_cannot_be_amended() {
        let options = Options { user: Some("ada".into()), ..Options::default() };
        for bad in [&b"{"[..], b"[]", b"7"] {
            assert!(amended(bad, &Whom::default(), Map::new(), &options).is_err());
        }
    }
}
