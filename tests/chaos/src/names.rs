//! The names of what a run is made of.

/// The functions that run, with how many copies each.
pub(crate) const FUNCTIONS: [(&str, usize); 7] = [
    ("group-assignment", 2),
    ("group-configuration", 2),
    ("agent-name", 1),
    ("agent-deletion", 2),
    ("active-response-configuration", 1),
    ("active-response-execution", 2),
    ("server-configuration", 1),
];

/// The services that run, with how many copies each.
pub(crate) const SERVICES: [(&str, usize); 3] = [("task-manager", 2), ("comms-api", 2), ("result-collector", 2)];

/// The server nodes.
pub(crate) const NODES: [&str; 2] = ["node-1", "node-2"];

/// The real agents.
pub(crate) const AGENTS: [&str; 3] = ["real-1", "real-2", "real-3"];

/// Groups that agents move between; they are always there.
pub(crate) const GROUPS: [&str; 4] = ["web", "db", "edge.eu", "mail"];

/// A group that is made and deleted.
pub(crate) const SCRATCH: &str = "scratch";

/// The group that keeps the real agents, and the active response that its members have.
pub(crate) const REAL: &str = "real";
pub(crate) const RESPONSE: &str = "note";

/// Where the program of the active response adds a line, below the agent's directory.
pub(crate) const RAN: &str = "ran.log";

/// Adds a line with the task's id, which stands in the alert, and takes a moment. It gets one line of JSON.
pub(crate) const PROGRAM: &str = r#"#!/bin/sh
read -r line
task=${line#*'"run":"'}
echo "${task%%'"'*}" >> ran.log
sleep 0.2
"#;

/// The content of the active response; a number makes it another one.
pub(crate) fn response(n: u64) -> String {
    format!("name: {RESPONSE}\nexecutable: {RESPONSE}\ntype: stateless\nlocation: all\nextra_arguments: ['{n}']\n")
}

/// A type in the ids of tasks.
pub(crate) fn short(kind: &str) -> String {
    kind.split('-').filter_map(|word| word.chars().next()).chain(kind.chars().last()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn short_forms_are_distinct() {
        let all: BTreeSet<String> = FUNCTIONS.iter().map(|(kind, _)| short(kind)).collect();
        assert_eq!(all.len(), FUNCTIONS.len(), "{all:?}");
    }
}
