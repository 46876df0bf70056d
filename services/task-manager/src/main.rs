//! The task-manager's process.

fn main() -> std::process::ExitCode {
    muster_runtime::main("task-manager", muster_task_manager::run)
}
