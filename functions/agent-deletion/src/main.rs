//! The function's process.

fn main() -> std::process::ExitCode {
    muster_runtime::run::<agent_deletion::AgentDeletion>()
}
