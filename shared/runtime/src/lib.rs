//! What every function and service shares: the seven steps, the loop that feeds them, and the shell of a process.

pub mod cases;
mod crash;
mod dead;
mod definition;
mod health;
mod rehearsal;
pub mod reply;
mod sets;
mod shell;
pub mod steps;
mod worker;

/// Of a rollout's time in functions and gateway the system's allocator takes a third (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub use dead::dead_letters;
pub use definition::Definition;
pub use health::Ready;
pub use sets::extend;
pub use shell::{Shell, function, log, log_level, main, on_signal, run};
pub use worker::{arrival, work};
