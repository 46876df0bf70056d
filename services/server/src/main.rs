//! A server node as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_runtime::main("server", muster_server::run)
}
