//! From the evidence to one answer: pure.

use muster_core::chain::{Frozen, Planned};
use muster_core::message::ReportStatus;
use muster_core::status::{State, Status};
use muster_core::summary::{Stop, StopKind};

use super::evidence::{Decided, Evidence, Lying};
use super::unmatched;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// A stable word, for programs.
    pub(super) code: &'static str,
    /// One sentence, for people.
    pub(super) answer: String,
    /// The task that took this one's place.
    pub(super) by: Option<String>,
}

fn is(code: &'static str, answer: impl Into<String>) -> Verdict {
    Verdict { code, answer: answer.into(), by: None }
}

/// The one reason that comes before all others. What the agent reported beats what was inferred about it.
pub(super) fn verdict(evidence: &Evidence) -> Verdict {
    if let Some(whole) = of_the_whole(evidence) {
        return whole;
    }
    if evidence.recipient { of_a_recipient(evidence) } else { of_another(evidence) }
}

/// What holds for every agent.
fn of_the_whole(evidence: &Evidence) -> Option<Verdict> {
    let task = &evidence.summary.id;
    let refused = match &evidence.plan {
        Some(Planned::Refused { errors }) => Some(errors),
        _ if evidence.summary.state == State::Rejected => Some(&evidence.summary.errors),
        _ => None,
    };
    if let Some(errors) = refused {
        let why: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Some(is(
            "refused",
            format!("The task {task} was refused, so nobody got anything: {}.", why.join("; ")),
        ));
    }
    if evidence.record.is_none() {
        let answer = format!("There is no agent {}: none with this id was ever enrolled.", evidence.agent);
        return Some(is("not-enrolled", answer));
    }
    let stopped = |stop: &Stop, when: &str| missed(stop, &format!("The task {task} was stopped before {when}"));
    match (&evidence.plan, &evidence.frozen) {
        (Some(Planned::Nothing { reason }), _) => {
            Some(is("nothing-to-do", format!("The task {task} had nothing to do for anybody: {reason}.")))
        }
        (Some(Planned::Stop(stop)), _) => Some(stopped(stop, "it was planned")),
        (_, Some(Frozen::Stop(stop))) => Some(stopped(stop, "it was known whom it concerns")),
        (None, _) => {
            let kind = &evidence.summary.kind;
            let answer =
                format!("The task {task} is not planned yet: is the function {kind} running? muster run {kind}");
            Some(is("not-planned", answer))
        }
        (_, None) => {
            Some(is("not-planned", format!("The task {task} is planned, and whom it concerns is being found out.")))
        }
        _ => None,
    }
}

/// Why somebody is no recipient.
fn of_another(evidence: &Evidence) -> Verdict {
    let (agent, task) = (&evidence.agent, &evidence.summary.id);
    if evidence.record.as_ref().is_some_and(|record| record.gone) {
        return is("gone", format!("Agent {agent} was deleted, and the task {task} did not concern it."));
    }
    let reasons = unmatched::reasons(evidence);
    let why = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    is("not-matched", format!("Agent {agent} was not meant by the task {task}{why}."))
}

/// What became of a recipient: what it reported, then what its page decided.
fn of_a_recipient(evidence: &Evidence) -> Verdict {
    let (agent, task) = (&evidence.agent, &evidence.summary.id);
    if let Some((result, at)) = &evidence.result {
        let message =
            if result.result.message.is_empty() { String::new() } else { format!(": {}", result.result.message) };
        match result.status {
            ReportStatus::Success => {
                return is("succeeded", format!("Agent {agent} has done it and reported so at {at}{message}."));
            }
            ReportStatus::Failure => {
                let code = result.result.code;
                let again = format!("try it again: muster task retry {task}");
                return is("failed", format!("Agent {agent} failed at {at} with code {code}{message}; {again}"));
            }
            ReportStatus::InProgress => {}
        }
    }
    // Results are kept for 40 days, what was counted from them longer.
    if evidence.has(Status::Success) {
        return is("succeeded", format!("Agent {agent} has done it; its report is not stored any more."));
    }
    if evidence.has(Status::Failure) {
        return is("failed", format!("Agent {agent} failed; its report is not stored any more."));
    }
    match &evidence.decided {
        None => undecided(evidence),
        Some((_, Decided::Gone)) => is("gone", format!("Agent {agent} was deleted before its turn came.")),
        Some((_, Decided::Skipped(reason))) => {
            is("skipped", format!("Agent {agent} was skipped, nothing was sent: {reason}."))
        }
        Some((_, Decided::Superseded(_) | Decided::Commanded)) => commanded(evidence),
    }
}

fn undecided(evidence: &Evidence) -> Verdict {
    let (agent, task) = (&evidence.agent, &evidence.summary.id);
    match &evidence.stop {
        Some(stop) => missed(stop, &format!("The task {task} was stopped before the turn of agent {agent}")),
        None => {
            let kind = &evidence.summary.kind;
            is(
                "undecided",
                format!("Agent {agent} is a recipient and its turn has not come: is the function {kind} running?"),
            )
        }
    }
}

/// It got a command, or would have but for a newer task, and has not reported an end.
fn commanded(evidence: &Evidence) -> Verdict {
    let (agent, task) = (&evidence.agent, &evidence.summary.id);
    if evidence.has(Status::Gone) || evidence.record.as_ref().is_some_and(|record| record.gone) {
        return is("gone", format!("Agent {agent} was deleted before it reported."));
    }
    if evidence.has(Status::Cancelled)
        && let Some(stop) = &evidence.stop
    {
        return missed(stop, &format!("The task {task} was stopped before its command reached agent {agent}"));
    }
    if let Some(by) = evidence.superseded_by() {
        let answer = format!(
            "The newer task {by} has taken the place of {task} for agent {agent}; see: muster why {by} {agent}"
        );
        return Verdict { by: Some(by.to_owned()), ..is("superseded", answer) };
    }
    if evidence.has(Status::Timeout) {
        let (timeout, at) = (evidence.summary.timeout, started(evidence));
        return is("timed-out", format!("Agent {agent} started{at} and did not report an end within {timeout} s."));
    }
    if let Some(at) = evidence.started {
        return is("started", format!("Agent {agent} has started at {at} and not reported an end yet."));
    }
    if evidence.has(Status::Expired) {
        let (until, heard) = (evidence.summary.deliver_until, heard(evidence));
        return is("expired", format!("Agent {agent} was not reached until {until}; {heard}."));
    }
    waiting(evidence)
}

fn waiting(evidence: &Evidence) -> Verdict {
    let (agent, until, heard) = (&evidence.agent, evidence.summary.deliver_until, heard(evidence));
    match &evidence.command {
        Some(Lying { taken: false, .. }) => is(
            "waiting-for-gateway",
            format!("The command of agent {agent} is stored and no gateway has taken it up: muster run comms-api"),
        ),
        Some(Lying { at, .. }) if !was_heard_after(evidence, *at) => is(
            "offline",
            format!(
                "The command of agent {agent} waits for it until {until}: {heard}, so it seems to be offline, and takes it when it comes back."
            ),
        ),
        Some(_) => is(
            "handed-over",
            format!("The command of agent {agent} was handed over and it has not reported yet; {heard}."),
        ),
        None => is("waiting", format!("Agent {agent} takes it with its next sync, until {until}; {heard}.")),
    }
}

fn was_heard_after(evidence: &Evidence, at: muster_core::instant::Instant) -> bool {
    evidence.reported.as_ref().and_then(|reported| reported.seen).is_some_and(|seen| seen >= at)
}

/// When it was last heard; the gateway keeps it coarsely.
fn heard(evidence: &Evidence) -> String {
    match evidence.reported.as_ref().and_then(|reported| reported.seen) {
        Some(seen) => format!("it was last heard about {seen}"),
        None => "it was never heard".to_owned(),
    }
}

fn started(evidence: &Evidence) -> String {
    evidence.started.map(|at| format!(" at {at}")).unwrap_or_default()
}

/// What a stop means to those whom it left out.
fn missed(stop: &Stop, what: &str) -> Verdict {
    let user = stop.user.as_ref().map(|user| format!(" by {user}")).unwrap_or_default();
    let reason = if stop.reason.is_empty() { String::new() } else { format!(": {}", stop.reason) };
    let code = match stop.kind {
        StopKind::Expired => "expired",
        StopKind::Parked => "parked",
        StopKind::Cancelled | StopKind::Restored => "cancelled",
    };
    is(code, format!("{what}{user}{reason}."))
}

#[cfg(test)]
mod tests;
