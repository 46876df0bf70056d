//! What an agent reports of its version counts only when its last hello has named that version: so it is the new program
//! that says so, and not the old one that believes it.

use std::time::Duration;

use muster_broker::{Fault, decode, kv};
use muster_core::lane::Lane;
use muster_core::message::{CommandResult, Report, ReportStatus};
use muster_core::record::Reported;
use muster_core::version::compare;

use crate::gateway::Gateway;
use crate::packages::wanted;

const REPORTED: &str = "reported";
/// What was said in a hello is written a little later: so often it is looked for, with a pause between.
const LOOKS: usize = 6;
const PAUSE: Duration = Duration::from_millis(200);

/// Whether a report says that the agent runs a version.
pub fn claims_version(report: &Report) -> bool {
    report.results.iter().any(is_claim)
}

fn is_claim(result: &CommandResult) -> bool {
    result.status == ReportStatus::Success && result.lane.as_ref().is_some_and(|lane| lane.kind() == Lane::VERSION)
}

/// The report without successes that the agent's hello does not bear out: they are not confirmed, so it repeats them.
///
/// # Errors
/// [`Fault`] when that is not to be known now.
pub async fn proven(gateway: &Gateway, id: &str, mut report: Report) -> Result<Report, Fault> {
    let mut kept = Vec::with_capacity(report.results.len());
    for result in report.results {
        if !is_claim(&result) || is_borne_out(gateway, id, &result).await? {
            kept.push(result);
        } else {
            tracing::info!(agent = id, task = result.request_id, "its hello has not named this version yet");
        }
    }
    report.results = kept;
    Ok(report)
}

async fn is_borne_out(gateway: &Gateway, id: &str, result: &CommandResult) -> Result<bool, Fault> {
    let Some(agent) = gateway.records().get(id).await? else { return Ok(true) };
    let named = wanted(&gateway.bodies, &agent).await?;
    let version = match named {
        Some((entry, upgrade)) if result.version == Some(entry.version) => upgrade.package.version,
        // The lane has moved on; what is left to compare with is what the agent itself says in its result.
        _ => match result.result.data["version"].as_str() {
            Some(version) => version.to_owned(),
            None => return Ok(false),
        },
    };
    for look in 0..LOOKS {
        if look > 0 {
            gateway.context.clock.sleep(PAUSE).await;
        }
        let subject = kv::subject(REPORTED, id);
        let said = gateway.context.bus.get(&kv::stream(REPORTED), &subject).await?.and_then(|entry| entry.body);
        let said: Option<Reported> = said.map(|body| decode(REPORTED, &subject, &body)).transpose()?;
        if said.is_some_and(|said| compare(&said.version, &version).is_eq()) {
            return Ok(true);
        }
    }
    Ok(false)
}
