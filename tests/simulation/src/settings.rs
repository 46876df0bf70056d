//! What a world is like. A seed decides; some faults are absent from some worlds, so that others show.

use muster_core::task::TaskType;

use crate::chance::Chance;
use crate::roles::FUNCTIONS;

/// What a world is like. Shares are of 10,000.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The seed of all chance.
    pub seed: u64,
    /// Whether it is written down what happens.
    pub timeline: bool,
    /// The agents that are there from the start.
    pub agents: u64,
    /// The copies of each function and service.
    pub copies: u64,
    /// The size of batches that pages are made for.
    pub max_batch: usize,
    /// How many requests, answers, acks and pushes are lost.
    pub losses: u64,
    /// How many operations take long.
    pub slow: u64,
    /// Within so many milliseconds all tasks are published.
    pub within: u64,
    /// A function that does not run at all.
    pub absent: Option<TaskType>,
    /// How many lives of processes end by themselves.
    pub crashes: u64,
    /// How wrong clocks of processes may go, in milliseconds.
    pub skew: u64,
    /// Whether processes are stopped for longer than an ack waits.
    pub stops: bool,
    /// Whether the server restarts.
    pub restarts: bool,
    /// Whether agents go offline.
    pub offline: bool,
    /// How many writes of a ledger are an agent's last.
    pub agent_crashes: u64,
    /// How many states cannot be put in force.
    pub failures: u64,
    /// How many tasks are published.
    pub tasks: u64,
    /// Which tasks.
    pub kinds: Vec<Kind>,
    /// Whether tasks are cancelled.
    pub cancels: bool,
    /// Whether agents enrol while tasks are carried out.
    pub enrolments: bool,
    /// Whether tasks are published again, as they were or otherwise.
    pub repeats: bool,
    /// Whether the server is restored from a backup.
    pub restored: bool,
    /// Whether an agent reports for tasks that do not concern it.
    pub liar: bool,
}

/// What a task asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Agents join groups.
    Assign,
    /// Agents leave groups.
    Unassign,
    /// Agents are to be in exactly these groups.
    Replace,
    /// A group is deleted.
    DeleteGroup,
    /// A group has another configuration.
    Configure,
    /// A group has another active response, or has it no more.
    Respond,
    /// An agent has another name.
    Rename,
    /// Agents run the active response, once.
    Run,
    /// An agent is deleted.
    Delete,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Assign,
        Self::Unassign,
        Self::Replace,
        Self::DeleteGroup,
        Self::Configure,
        Self::Respond,
        Self::Rename,
        Self::Run,
        Self::Delete,
    ];
}

impl Settings {
    /// The world of a seed.
    pub fn of(seed: u64) -> Self {
        let chance = Chance::of(seed, "settings");
        let one_of = |values: &[u64]| chance.pick(values).copied().unwrap_or_default();
        let half = || chance.hits(5000);
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| half()).collect();
        let restored = chance.hits(800);
        // An agent that was deleted after the backup has ended, and no server brings it back.
        kinds.retain(|kind| !restored || *kind != Kind::Delete);
        if kinds.is_empty() {
            kinds = vec![Kind::Assign, Kind::Run];
        }
        Self {
            seed,
            timeline: false,
            agents: 1 + chance.below(4),
            copies: 1 + chance.below(2),
            max_batch: usize::try_from(one_of(&[10, 20, 1000])).unwrap_or(1000),
            losses: one_of(&[0, 0, 100, 300]),
            slow: one_of(&[20, 50, 800]),
            within: one_of(&[1000, 10_000, 32_000]),
            absent: chance.pick(&FUNCTIONS).copied().filter(|_| chance.hits(800)),
            crashes: one_of(&[0, 3000, 8000]),
            skew: one_of(&[0, 0, 1500]),
            stops: chance.hits(3000),
            restarts: chance.hits(3000),
            offline: half(),
            agent_crashes: one_of(&[0, 0, 200, 600]),
            failures: one_of(&[0, 0, 1500]),
            tasks: 1 + chance.below(8),
            kinds,
            cancels: chance.hits(3500),
            enrolments: chance.hits(3500),
            repeats: chance.hits(3500),
            restored,
            liar: chance.hits(1500),
        }
    }
}
