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

pub use dead::dead_letters;
pub use definition::Definition;
pub use health::Ready;
pub use sets::extend;
pub use shell::{Shell, function, log, log_level, main, on_signal, run};
pub use worker::{arrival, work};
