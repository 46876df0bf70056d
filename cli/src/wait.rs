//! Whether and how long a command waits for a task's end. The flag is `--wait-timeout`, because `--timeout` is a field
//! of the task: how long a started command may run.

use std::time::Duration;

use clap::Args;

/// Whether to wait for a task's end.
#[derive(Debug, Clone, Copy, Default, Args)]
#[group(skip)]
pub(crate) struct Wait {
    /// Wait for the end, and end as it does (see: muster task watch --help)
    #[arg(long)]
    wait: bool,
    /// Wait at most so long, such as 90s or 5m, and end with 8 after it; the task goes on
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "wait")]
    wait_timeout: Option<Duration>,
}

/// How long something waits that waits anyway.
#[derive(Debug, Clone, Copy, Args)]
#[group(skip)]
pub(crate) struct Limit {
    /// Wait at most so long, such as 90s or 5m, and end with 8 after it; the task goes on
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    wait_timeout: Duration,
}

/// How long to wait for a task's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Not at all.
    Not,
    /// As long as it takes.
    Forever,
    /// At most so long.
    AtMost(Duration),
}

impl From<Wait> for Waiting {
    fn from(wait: Wait) -> Self {
        if wait.wait { wait.wait_timeout.into() } else { Self::Not }
    }
}

impl From<Limit> for Waiting {
    fn from(limit: Limit) -> Self {
        Self::AtMost(limit.wait_timeout)
    }
}

/// Nothing said means as long as it takes.
impl From<Option<Duration>> for Waiting {
    fn from(limit: Option<Duration>) -> Self {
        limit.map_or(Self::Forever, Self::AtMost)
    }
}

/// A duration such as `90s`, `5m`, `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = muster_core::configuration::duration(text);
    duration.ok_or_else(|| format!("'{text}' is no duration such as 90s, 5m or 2h"))
}
