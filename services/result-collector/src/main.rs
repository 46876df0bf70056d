//! The result-collector as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_runtime::main("result-collector", muster_result_collector::run)
}
