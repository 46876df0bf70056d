//! Why an agent is none of a task's recipients, as far as it can be told now: pure.

use std::time::SystemTime;

use muster_core::instant::Instant;
use muster_core::query::Query;
use muster_core::record::Reported;
use muster_core::target::Target;

use super::evidence::Evidence;

/// At most so many names are listed.
const NAMED: usize = 8;

/// The reasons, one for each part of the target; the agent is enrolled.
pub(super) fn reasons(evidence: &Evidence) -> Vec<String> {
    let Some(record) = &evidence.record else { return Vec::new() };
    if record.enrolled > evidence.summary.created {
        return vec![format!("it was enrolled at {}, after the task", record.enrolled)];
    }
    let target = evidence.plan().map(|plan| &plan.select).or(evidence.summary.target.as_ref());
    let Some(target) = target else { return Vec::new() };
    target
        .leaves("")
        .into_iter()
        .map(|(pointer, leaf)| {
            let said = part(evidence, leaf);
            if pointer.contains("/without") { format!("taken out of the target: {said}") } else { said }
        })
        .collect()
}

fn part(evidence: &Evidence, leaf: &Target) -> String {
    let Some(record) = &evidence.record else { return "it is not enrolled".to_owned() };
    match leaf {
        Target::Agents(ids) if ids.contains(&evidence.agent) => "it is among the agents named".to_owned(),
        Target::Agents(ids) => format!("it is not among the agents named ({})", named(ids)),
        Target::Groups(groups) => match groups.iter().find(|group| record.in_group(group)) {
            Some(group) => format!("it is in the group {group} now"),
            None => format!("it is not in {} (it is in {})", named(groups), named(&record.groups)),
        },
        Target::All => "every agent that is enrolled and not deleted".to_owned(),
        Target::Query(text) => {
            let silent = Reported::default();
            let reported = evidence.reported.as_ref().unwrap_or(&silent);
            match Query::parse(text) {
                Ok(query) if query.matches(record, reported, Instant::from_system(SystemTime::now())) => {
                    format!("the query '{text}' holds for it now")
                }
                _ => format!("the query '{text}' does not hold for it"),
            }
        }
        Target::Servers(_) => "the task concerns server nodes".to_owned(),
        _ => format!("it was not among those that {} means", serde_json::json!(leaf)),
    }
}

fn named(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names if names.len() <= NAMED => names.join(", "),
        names => format!("{} and {} more", names[..NAMED].join(", "), names.len() - NAMED),
    }
}
