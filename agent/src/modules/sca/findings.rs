//! What was found, as it is kept, and as it is reported: `schemas/sca-findings.json`.

use std::collections::BTreeMap;

use muster_core::findings::MAX_FINDINGS;
use muster_core::instant::Instant;
use muster_core::lane::Lane;
use muster_core::record::MAX_DIGESTS;
use muster_sca::{CheckReport, Outcome, Report};
use serde::{Deserialize, Serialize};

/// Room for what is around the policies, in bytes.
const AROUND: usize = 128;
/// Room for the number of checks that are left out, and a comma, in bytes.
const NUMBER: usize = 32;

/// How a policy came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scanned {
    /// The policy's digest.
    pub digest: String,
    /// When the scan ended.
    pub scanned: Instant,
    /// What it found.
    pub report: Report,
}

/// The last results, by the lanes of the policies.
pub type Results = BTreeMap<Lane, Scanned>;

#[derive(Serialize)]
struct Message<'a> {
    policies: Vec<Found<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    left_out: usize,
}

#[derive(Serialize)]
struct Found<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    name: &'a str,
    digest: &'a str,
    scanned: Instant,
    #[serde(skip_serializing_if = "is_zero")]
    left_out: usize,
    report: Report,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants a reference
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The message that reports these results. Where they are more than a message holds, all have an equal share of the room,
/// and what one does not need is for the others.
///
/// # Errors
/// When something has no JSON form.
pub fn message(results: &Results) -> serde_json::Result<Vec<u8>> {
    let found = results.iter().take(MAX_DIGESTS).map(|(lane, scanned)| Found::of(lane, scanned));
    let mut sized = found.map(|found| Ok((size(&found)?, found))).collect::<serde_json::Result<Vec<_>>>()?;
    sized.sort_by_key(|(size, _)| *size);
    let (mut room, mut waiting) = (MAX_FINDINGS - AROUND, sized.len());
    let mut policies = Vec::with_capacity(sized.len());
    for (_, found) in sized {
        let fits = found.within(room / waiting)?;
        waiting -= 1;
        if let Some((size, found)) = fits {
            room -= size;
            policies.push(found);
        }
    }
    policies.sort_by(|one, other| (one.group, one.name).cmp(&(other.group, other.name)));
    let left_out = results.len() - policies.len();
    serde_json::to_vec(&Message { policies, left_out })
}

impl<'a> Found<'a> {
    fn of(lane: &'a Lane, scanned: &'a Scanned) -> Self {
        let mut report = scanned.report.clone();
        report.checks.sort_by_key(|check| match check.result {
            Outcome::Failed => 0,
            Outcome::NotApplicable => 1,
            Outcome::Passed => 2,
        });
        let name = lane.name().unwrap_or_default();
        Self { group: lane.group(), name, digest: &scanned.digest, scanned: scanned.scanned, left_out: 0, report }
    }

    /// The same with as many of its checks as fit, and its size; none when not even the totals fit.
    fn within(mut self, room: usize) -> serde_json::Result<Option<(usize, Self)>> {
        let checks = std::mem::take(&mut self.report.checks);
        let mut used = size(&self)? + NUMBER;
        if used > room {
            return Ok(None);
        }
        let all = checks.len();
        for check in checks {
            let more = size::<CheckReport>(&check)? + 1;
            if used + more > room {
                break;
            }
            used += more;
            self.report.checks.push(check);
        }
        self.left_out = all - self.report.checks.len();
        Ok(Some((used, self)))
    }
}

fn size<T: Serialize>(value: &T) -> serde_json::Result<usize> {
    serde_json::to_vec(value).map(|json| json.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use muster_core::findings::Finding;
    use muster_core::names::digest;
    use serde_json::{Value, json};

    use super::*;

    fn scanned(checks: usize, title: &str) -> Scanned {
        let of = |n: usize| match n % 3 {
            0 => json!({ "id": n, "title": title, "result": "passed" }),
            1 => json!({ "id": n, "title": title, "result": "failed" }),
            _ => json!({ "id": n, "title": title, "result": "not applicable", "reason": "r".repeat(300) }),
        };
        let report = json!({
            "policy": "p", "name": "P",
            "totals": { "passed": checks.div_ceil(3), "failed": (checks + 1) / 3, "not_applicable": checks / 3 },
            "checks": (0..checks).map(of).collect::<Vec<_>>(),
        });
        let report = serde_json::from_value(report).unwrap();
        Scanned { digest: digest(b"p"), scanned: Instant(1_000), report }
    }

    fn lane(n: usize) -> Lane {
        Lane::item_of(Lane::SCA, &format!("web/p{n:04}"))
    }

    fn reported(results: &Results) -> Value {
        let message = message(results).unwrap();
        Finding::Sca.check(&message).unwrap_or_else(|problems| panic!("{problems:?}"));
        serde_json::from_slice(&message).unwrap()
    }

    #[test]
    fn failed_checks_come_first_and_a_content_has_no_group() {
        let results = Results::from([(lane(1), scanned(4, "t")), (Lane::item_of(Lane::SCA, "cis"), scanned(1, "t"))]);
        let found = reported(&results);
        assert_eq!(reported(&Results::new()), json!({ "policies": [] }));
        assert_eq!((&found["policies"][0]["name"], &found["policies"][0]["group"]), (&json!("cis"), &Value::Null));
        let checks = found["policies"][1]["report"]["checks"].as_array().unwrap();
        let ids: Vec<_> = checks.iter().map(|check| check["id"].as_u64().unwrap()).collect();
        assert_eq!((ids, &found["policies"][1]["left_out"]), (vec![1, 2, 0, 3], &Value::Null));
    }

    #[test]
    fn what_is_too_much_is_left_out_and_counted() {
        for (policies, checks) in [(1, 2000), (2, 2000), (64, 700), (600, 10), (3000, 1)] {
            // The last one is small and comes whole.
            let mut results: Results =
                (1..policies).map(|n| (lane(n), scanned(checks, &"\u{1F600}".repeat(512)))).collect();
            results.insert(lane(policies), scanned(1, "t"));
            let found = reported(&results);
            let listed = found["policies"].as_array().unwrap();
            assert_eq!(listed.len() + found["left_out"].as_u64().unwrap_or_default() as usize, policies);
            for policy in listed {
                let (totals, checks) = (&policy["report"]["totals"], policy["report"]["checks"].as_array().unwrap());
                let counted: u64 = totals.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
                assert_eq!(checks.len() as u64 + policy["left_out"].as_u64().unwrap_or_default(), counted);
                let failed = checks.iter().filter(|check| check["result"] == "failed").count() as u64;
                assert!(failed == totals["failed"] || checks.iter().all(|check| check["result"] == "failed"));
            }
            if policies <= MAX_DIGESTS {
                let small = listed.iter().find(|policy| policy["name"] == format!("p{policies:04}")).unwrap();
                assert_eq!(small["left_out"], Value::Null);
            }
        }
    }
}
