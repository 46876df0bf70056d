//! What agents report: checked, cut to size, and turned into what is stored. Who reports is known from the subject
//! that the server enforced, never from the message.

use muster_broker::{Fault, Write, encode};
use muster_core::fact::StoredResult;
use muster_core::message::{CommandResult, MAX_DATA, MAX_REPORT, MAX_RESULTS, Outcome, Report, ReportStatus};
use muster_core::names::is_any_task_id;
use muster_core::problem::{Problem, Refusal};
use serde_json::{Value, json};

/// The longest message of a result that is kept, in characters.
const MAX_MESSAGE: usize = 1024;
/// So much of the data that are too long is kept, in bytes: escaped they take at most twice that.
const EXCERPT: usize = 1500;

/// Reads a report.
///
/// # Errors
/// When it is too large, is none, has too many results or names a task that cannot be.
pub fn read(payload: &[u8]) -> Result<Report, Refusal> {
    let report: Report = document(payload)?;
    if report.results.len() > MAX_RESULTS {
        let message = format!("{} results, where {MAX_RESULTS} are allowed", report.results.len());
        return Err(vec![Problem::new("too-many", "/results", message).hint("report them in several messages")]);
    }
    let bad = report.results.iter().position(|result| !is_any_task_id(&result.request_id));
    bad.map_or(Ok(report), |n| Err(vec![Problem::new("schema", format!("/results/{n}/request_id"), "not a task's id")]))
}

/// Reads a message of an agent.
///
/// # Errors
/// When it is too large or is not of the form.
pub fn document<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, Refusal> {
    if payload.len() > MAX_REPORT {
        let message = format!("{} bytes, where {MAX_REPORT} are allowed", payload.len());
        return Err(vec![Problem::new("too-large", "", message)]);
    }
    serde_json::from_slice(payload).map_err(|e| vec![Problem::new("schema", "", e.to_string())])
}

/// What is stored of an agent's result.
///
/// # Errors
/// [`Fault::Refused`] when it has no JSON form.
pub fn stored(agent: &str, number: u32, result: CommandResult) -> Result<Write, Fault> {
    let kind = if result.status == ReportStatus::InProgress { "starts" } else { "results" };
    let subject = format!("{kind}.{}.{agent}", result.request_id);
    let outcome = cut(result.result);
    Ok(Write::new(subject, encode(&StoredResult::new(number, CommandResult { result: outcome, ..result }))?))
}

/// The subject in RUNS of the edge command that this result ends.
pub fn ends(agent: &str, result: &CommandResult) -> Option<String> {
    let ended = result.status != ReportStatus::InProgress && result.lane.is_none();
    ended.then(|| format!("commands.agent.{agent}.run.{}", result.request_id))
}

fn cut(outcome: Outcome) -> Outcome {
    let message = outcome.message.chars().take(MAX_MESSAGE).collect();
    Outcome { message, data: cut_data(outcome.data), ..outcome }
}

fn cut_data(data: Value) -> Value {
    let text = data.to_string();
    if text.len() <= MAX_DATA {
        return data;
    }
    let start = &text[..text.floor_char_boundary(EXCERPT)];
    json!({ "note": format!("cut: {} bytes, where {MAX_DATA} are kept", text.len()), "start": start })
}

/// Groups writes so that no subject comes twice in one group, in their order: a stream refuses that in a batch.
pub fn rounds(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut rounds: Vec<(std::collections::HashMap<String, bytes::Bytes>, Vec<Write>)> = Vec::new();
    for write in writes {
        let body = write.body.clone().unwrap_or_default();
        // The same report again, as agents repeat it: once is enough.
        if rounds.iter().any(|(seen, _)| seen.get(&write.subject) == Some(&body)) {
            continue;
        }
        match rounds.iter_mut().find(|(seen, _)| !seen.contains_key(&write.subject)) {
            Some((seen, round)) => {
                seen.insert(write.subject.clone(), body);
                round.push(write);
            }
            None => rounds.push(([(write.subject.clone(), body)].into(), vec![write])),
        }
    }
    rounds.into_iter().map(|(_, round)| round).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn result(task: &str, extra: Value) -> Value {
        let mut result = json!({ "request_id": task, "status": "success" });
        result.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap_or_default());
        result
    }

    fn report(results: Vec<Value>) -> Vec<u8> {
        json!({ "ledger": "l", "results": results }).to_string().into_bytes()
    }

    fn refused(payload: &[u8]) -> (String, String) {
        let problem = read(payload).unwrap_err().remove(0);
        (problem.code, problem.pointer)
    }

    #[test]
    fn a_report_is_bounded_and_checked() {
        assert_eq!(read(&report(vec![result("a", json!({})), result("t0-7", json!({}))])).unwrap().results.len(), 2);
        assert_eq!(read(&report(vec![result("a", json!({})); 512])).unwrap().results.len(), 512);
        assert_eq!(refused(&report(vec![result("a", json!({})); 513])), ("too-many".into(), "/results".into()));
        let bad = report(vec![result("a", json!({})), result("a.b", json!({}))]);
        assert_eq!(refused(&bad), ("schema".into(), "/results/1/request_id".into()));
        assert_eq!(refused(b"{\"ledger\":\"l\",\"x\":1}").0, "schema");
        assert_eq!(refused(b"").0, "schema");
        assert_eq!(refused(&vec![b' '; MAX_REPORT + 1]).0, "too-large");
    }

    fn store(result: Value) -> (String, Value) {
        let write = stored("007", 7, serde_json::from_value(result).unwrap()).unwrap();
        (write.subject, serde_json::from_slice(&write.body.unwrap()).unwrap())
    }

    #[test]
    fn a_result_is_stored_under_its_task_and_agent_with_the_number() {
        let (subject, body) = store(result("t0-7", json!({ "result": { "code": 0, "message": "m", "data": [1] } })));
        assert_eq!(subject, "results.t0-7.007");
        let expected = json!({"number": 7, "status": "success", "result": {"code": 0, "message": "m", "data": [1]}});
        assert_eq!(body, expected);
        assert_eq!(store(json!({ "request_id": "x", "status": "in_progress" })).0, "starts.x.007");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        for unit in ["x", "\\\"", "\u{1F600}", "\\u0001"] {
            let text = unit.repeat(5000);
            let (_, body) = store(result("t", json!({ "result": { "message": text, "data": { "log": text } } })));
            assert_eq!(body["result"]["message"].as_str().unwrap().chars().count(), 1024);
            assert!(body["result"]["data"]["note"].as_str().unwrap().starts_with("cut: "), "{body}");
            assert!(body["result"]["data"].to_string().len() <= MAX_DATA);
        }
        let (_, body) = store(result("t", json!({ "result": { "data": "x".repeat(MAX_DATA - 2) } })));
        assert_eq!(body["result"]["data"].as_str().unwrap().len(), MAX_DATA - 2);
    }

    #[test]
    fn no_subject_comes_twice_in_a_round() {
        let write = |subject: &str, body: &'static str| Write::new(subject, body);
        let rounds = rounds(vec![write("a", "1"), write("b", "1"), write("a", "1"), write("a", "2"), write("c", "1")]);
        assert_eq!(rounds, [vec![write("a", "1"), write("b", "1"), write("c", "1")], vec![write("a", "2")]]);
    }

    #[test]
    fn only_the_final_result_of_an_edge_command_ends_its_message() {
        let ends = |value: Value| ends("007", &serde_json::from_value(value).unwrap());
        assert_eq!(ends(result("t", json!({}))).unwrap(), "commands.agent.007.run.t");
        assert_eq!(ends(result("t", json!({ "lane": "groups" }))), None);
        assert_eq!(ends(json!({ "request_id": "t", "status": "in_progress" })), None);
    }
}
