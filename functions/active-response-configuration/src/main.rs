//! The function's process.

fn main() -> std::process::ExitCode {
    muster_runtime::run::<active_response_configuration::ActiveResponseConfiguration>()
}
