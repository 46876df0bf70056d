//! The function's process.

fn main() -> std::process::ExitCode {
    muster_runtime::run::<server_configuration::ServerConfiguration>()
}
