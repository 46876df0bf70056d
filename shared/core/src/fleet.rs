//! Who carries out commands: agents, or server nodes. Both have records, lanes, numbers and chains of the same form, each
//! in a bucket of its own.

/// The recipients of a task type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fleet {
    /// Agents, reached through the gateway.
    Agents,
    /// Server nodes, which read the streams themselves. All are members of the group `default`, whose contents are
    /// what every node runs with.
    Nodes,
}

impl Fleet {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Agents, Self::Nodes];

    /// The bucket of their records, and of the chains of their tasks: one bucket, so that a decision and all that it
    /// changes are one atomic batch.
    pub const fn bucket(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Nodes => "nodes",
        }
    }

    /// The word for one of them: in the subjects of commands (`commands.<kind>.<id>...`), and as the type of a
    /// command's target.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Agents => "agent",
            Self::Nodes => "server",
        }
    }
}
