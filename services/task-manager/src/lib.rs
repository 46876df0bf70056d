//! muster-task-manager
