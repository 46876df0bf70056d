//! What the system consists of: every function and service, under the name that it has everywhere.

use muster_functions::Running;
use muster_runtime::Shell;

/// One function or service.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    /// A task type, or the service's name.
    pub(crate) name: &'static str,
    /// Runs it until the shell's shutdown.
    pub(crate) run: fn(Shell) -> Running,
}

const TASK_MANAGER: Part = Part { name: "task-manager", run: |shell| Box::pin(muster_task_manager::run(shell)) };
const COMMS_API: Part = Part { name: "comms-api", run: |shell| Box::pin(muster_comms_api::run(shell)) };
const SERVER: Part = Part { name: "server", run: |shell| Box::pin(muster_server::run(shell)) };
const COLLECTOR: Part = Part { name: "result-collector", run: |shell| Box::pin(muster_result_collector::run(shell)) };

/// All parts in the order in which they are started: each stage before those that give it work. They end in the
/// reverse order, so that what a stage has told is still taken.
pub(crate) fn stages() -> [Vec<Part>; 3] {
    let functions = muster_functions::ALL.iter().map(|f| Part { name: f.kind.name(), run: f.run });
    [vec![COLLECTOR, SERVER], functions.collect(), vec![TASK_MANAGER, COMMS_API]]
}

/// The names of all parts.
pub(crate) fn names() -> Vec<&'static str> {
    stages().iter().flatten().map(|part| part.name).collect()
}

/// The part with this name.
pub(crate) fn named(name: &str) -> Option<Part> {
    stages().into_iter().flatten().find(|part| part.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_a_name_of_its_own() {
        let mut names = names();
        assert!(
            ["task-manager", "comms-api", "result-collector", "server", "group-assignment"]
                .iter()
                .all(|n| names.contains(n))
        );
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), count), (count, muster_functions::ALL.len() + 4));
    }
}
