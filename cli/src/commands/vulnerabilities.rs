//! `muster agent vulnerabilities`: what the last scan of an agent's packages found.

use serde_json::Value;

use crate::output::{Output, print, print_json, say, table, text};

/// The severities, the worst first.
const SEVERITIES: [&str; 6] = ["critical", "high", "medium", "low", "none", "unknown"];

/// Shows what was found of an agent.
pub(super) fn show(output: Output, answer: &Value) -> anyhow::Result<()> {
    let (id, found) = (text(&answer["id"]), &answer["findings"]);
    if output == Output::Json {
        return print_json(answer);
    }
    if found.is_null() {
        say(&format!("agent {id} was never scanned; publish a task of type vulnerability-rescan"));
        return Ok(());
    }
    print(&page(found))?;
    let left_out = found["left_out"].as_u64().unwrap_or_default();
    if left_out > 0 {
        say(&format!("{left_out} more were found than are kept; the counts are whole"));
    }
    Ok(())
}

/// The counts by severity, the findings, and what could not be judged.
fn page(found: &Value) -> String {
    let count = |severity: &&str| [(*severity).to_owned(), text(&found["counts"][*severity])];
    let rest = [("cannot be judged", "unjudged"), ("packages scanned", "scanned"), ("of them never named", "unlisted")]
        .map(|(name, field)| [name.to_owned(), text(&found[field])]);
    let mut page = table(["severity", "findings"], SEVERITIES.iter().map(count).chain(rest));
    let row = |finding: &Value| ["severity", "cve", "package", "version", "fixed"].map(|field| text(&finding[field]));
    let findings: Vec<_> = found["findings"].as_array().into_iter().flatten().map(row).collect();
    if !findings.is_empty() {
        page += &format!("\n{}", table(["severity", "cve", "package", "version", "fixed in"], findings));
    }
    let row = |doubt: &Value| ["reason", "cve", "package", "version"].map(|field| text(&doubt[field]));
    let doubts: Vec<_> = found["undetermined"].as_array().into_iter().flatten().map(row).collect();
    if !doubts.is_empty() {
        page += &format!("\n{}", table(["cannot be judged", "cve", "package", "version"], doubts));
    }
    page += &format!("\nat offset {} of the feed, {}\n", text(&found["offset"]), text(&found["at"]));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_then_findings_then_doubts() {
        let schema: Value =
            serde_json::from_str(include_str!("../../../schemas/vulnerabilities.json")).unwrap_or_default();
        let page = page(&schema["examples"][0]);
        let lines: Vec<String> =
            page.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[..3], ["SEVERITY FINDINGS", "critical 0", "high 1"]);
        assert_eq!(lines[7..10], ["cannot be judged 1", "packages scanned 412", "of them never named 31"]);
        assert_eq!(lines[12], "high CVE-2024-6387 openssh-server 1:9.2p1-2+deb12u2 1:9.2p1-2+deb12u3");
        assert_eq!(lines[15], "feed-unknown CVE-2023-0001 libc6 2.36-9+deb12u4");
        assert_eq!(lines[17], "at offset 1432598 of the feed, 2026-11-26T13:00:00Z");
    }
}
