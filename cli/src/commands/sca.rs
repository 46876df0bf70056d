//! `muster agent sca`: how the checks of an agent's policies came out.

use anyhow::bail;
use serde_json::{Value, json};

use crate::output::{Output, print, print_json, say, table, text};

/// Shows what an agent has found, of all of its policies or of one.
pub(super) fn show(output: Output, answer: &Value, policy: Option<&str>) -> anyhow::Result<()> {
    let id = text(&answer["id"]);
    let reported = answer["findings"]["policies"].as_array();
    let found: Vec<&Value> =
        reported.into_iter().flatten().filter(|f| policy.is_none_or(|name| f["name"] == name)).collect();
    if let Some(name) = policy.filter(|_| found.is_empty()) {
        bail!("agent {id} has reported nothing of a policy '{name}'. See: muster agent sca {id}");
    }
    if output == Output::Json {
        return print_json(
            &json!({ "id": answer["id"], "policies": found, "left_out": answer["findings"]["left_out"] }),
        );
    }
    if answer["findings"].is_null() {
        say(&format!("agent {id} has reported nothing yet"));
    }
    print(&page(&found))?;
    let left_out = answer["findings"]["left_out"].as_u64().unwrap_or_default();
    if left_out > 0 {
        say(&format!("{left_out} more policies did not fit into the agent's report"));
    }
    for found in found.iter().filter(|found| !found["left_out"].is_null()) {
        say(&format!("{}: {} more checks did not fit into the agent's report", name(found), text(&found["left_out"])));
    }
    Ok(())
}

/// `<group>/<policy>`, or the policy alone when it is one of the content manager's.
fn name(found: &Value) -> String {
    match found["group"].as_str() {
        Some(group) => format!("{group}/{}", text(&found["name"])),
        None => text(&found["name"]),
    }
}

/// The policies with their totals, then their checks.
fn page(found: &[&Value]) -> String {
    let totals = found.iter().map(|found| {
        let (report, totals) = (&found["report"], &found["report"]["totals"]);
        let count = |of: &str| text(&totals[of]);
        let scanned = text(&found["scanned"]);
        [name(found), count("passed"), count("failed"), count("not_applicable"), scanned, text(&report["reason"])]
    });
    let head = table(["policy", "passed", "failed", "not applicable", "scanned", "reason"], totals);
    let checks = ["failed", "not applicable", "passed"].into_iter().flat_map(|result| {
        let of = move |found: &&Value| {
            let all = found["report"]["checks"].as_array().cloned().unwrap_or_default();
            let name = name(found);
            let wanted = all.into_iter().filter(move |check| check["result"] == result);
            wanted
                .map(|check| {
                    [result.to_owned(), name.clone(), text(&check["id"]), text(&check["title"]), text(&check["reason"])]
                })
                .collect::<Vec<_>>()
        };
        found.iter().flat_map(of).collect::<Vec<_>>()
    });
    let checks: Vec<_> = checks.collect();
    if checks.is_empty() {
        head
    } else {
        format!("{head}\n{}", table(["result", "policy", "id", "title", "reason"], checks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_checks_come_first_and_what_is_not_applicable_says_why() {
        let check = |id: u32, result: &str, reason: Value| json!({ "id": id, "title": "T", "result": result, "reason": reason });
        let found = json!({
            "group": "web", "name": "ssh", "scanned": "2026-11-26T13:00:00Z",
            "report": { "totals": { "passed": 1, "failed": 1, "not_applicable": 1 }, "checks": [
                check(1, "passed", Value::Null), check(2, "not applicable", json!("it is not there")), check(3, "failed", Value::Null),
            ] },
        });
        let whole = json!({
            "name": "cis", "report": { "reason": "its requirements do not hold", "totals": { "not_applicable": 0 }, "checks": [] },
        });
        let lines: Vec<String> =
            page(&[&found, &whole]).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[1], "web/ssh 1 1 1 2026-11-26T13:00:00Z -");
        assert_eq!(lines[2], "cis - - 0 - its requirements do not hold");
        assert_eq!(
            lines[5..],
            ["failed web/ssh 3 T -", "not applicable web/ssh 2 T it is not there", "passed web/ssh 1 T -"]
        );
    }
}
