//! The agents' gateway as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_runtime::main("comms-api", muster_comms_api::run)
}
