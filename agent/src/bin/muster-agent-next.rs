//! The agent itself with another version: what tests and the demonstration upgrade to. Nobody else needs it.

fn main() -> std::process::ExitCode {
    muster_agent::program::main("9.1.0")
}
