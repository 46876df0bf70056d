//! The agent's program.

fn main() -> std::process::ExitCode {
    muster_agent::program::main(muster_agent::VERSION)
}
