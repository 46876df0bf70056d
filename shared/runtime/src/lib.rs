//! What every function and service shares: the seven steps, the loop that feeds them, and the shell of a process.

mod definition;
pub mod steps;

pub use definition::Definition;
