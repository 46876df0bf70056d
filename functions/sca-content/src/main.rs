//! The function's process.

fn main() -> std::process::ExitCode {
    muster_runtime::run::<sca_content::ScaContent>()
}
