//! The agent itself with another version: what the tests and the demonstration upgrade to.

fn main() -> std::process::ExitCode {
    muster_agent::program::main("9.1.0")
}
