//! `muster task plan`: what a task would do, answered by its function. Nothing is written.

use async_nats::Client;
use bytes::Bytes;
use muster_core::problem::Problem;
use serde::Deserialize;
use serde_json::Value;

use crate::ask::ask_bytes;
use crate::exit::{Exit, tell};
use crate::output::{Output, fields, print, print_json, say, table};

/// The answer of `task.plan.<type>`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Refused { refused: Vec<Problem> },
    Planned(Planned),
}

#[derive(Debug, Deserialize)]
struct Planned {
    /// The command; none when nobody gets one.
    action: Option<String>,
    lane: Option<String>,
    recipients: u64,
    decisions: Vec<Decision>,
}

/// What is decided about some of the recipients.
#[derive(Debug, Deserialize)]
struct Decision {
    decision: String,
    reason: Option<String>,
    count: u64,
    /// Some of them.
    #[serde(default)]
    sample: Vec<String>,
}

/// Ends with 4 when the task would be refused.
pub(super) async fn plan(client: &Client, output: Output, kind: &str, body: Bytes) -> anyhow::Result<Exit> {
    let answer = ask_bytes(client, &format!("task.plan.{kind}"), body).await?;
    if output == Output::Json {
        print_json(&answer)?;
        return Ok(if answer["refused"].is_null() { Exit::Done } else { Exit::Rejected });
    }
    match read(answer)? {
        Answer::Refused { refused } => {
            tell(&refused, output);
            Ok(Exit::Rejected)
        }
        Answer::Planned(planned) => {
            print(&page(&planned))?;
            say("this was a plan: nothing was written");
            Ok(Exit::Done)
        }
    }
}

fn read(answer: Value) -> anyhow::Result<Answer> {
    use anyhow::Context as _;
    serde_json::from_value(answer).context("the answer is no plan; is the task-manager of this version?")
}

fn page(planned: &Planned) -> String {
    let head = fields([
        ("action", planned.action.clone().unwrap_or_default()),
        ("lane", planned.lane.clone().unwrap_or_default()),
        ("recipients", planned.recipients.to_string()),
    ]);
    if planned.decisions.is_empty() {
        return head;
    }
    let row = |d: &Decision| {
        let more = if d.count > d.sample.len() as u64 && !d.sample.is_empty() { ",..." } else { "" };
        let sample = format!("{}{more}", d.sample.join(","));
        [d.decision.clone(), d.count.to_string(), d.reason.clone().unwrap_or_default(), sample]
    };
    format!("{head}\n{}", table(["decision", "count", "reason", "sample"], planned.decisions.iter().map(row)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn decisions_are_rows() {
        let answer = json!({ "action": "set-group", "lane": "groups", "recipients": 4, "decisions": [
            { "decision": "commanded", "reason": null, "count": 3, "sample": ["001", "002"] },
            { "decision": "skipped", "reason": "already in web", "count": 1, "sample": ["003"] },
        ]});
        let Answer::Planned(planned) = read(answer).unwrap() else { panic!() };
        assert_eq!(
            page(&planned),
            "action      set-group\nlane        groups\nrecipients  4\n\n\
             DECISION   COUNT  REASON          SAMPLE\n\
             commanded  3      -               001,002,...\n\
             skipped    1      already in web  003\n"
        );
    }

    #[test]
    fn a_refusal_is_one() {
        let answer = json!({ "refused": [{ "code": "unknown-group", "pointer": "/args/groups/0", "message": "no" }] });
        assert!(matches!(read(answer).unwrap(), Answer::Refused { refused } if refused[0].code == "unknown-group"));
        assert!(read(json!({})).is_err());
    }
}
