//! The function's process.

fn main() -> std::process::ExitCode {
    muster_runtime::run::<group_configuration::GroupConfiguration>()
}
