//! The result-collector: the only writer of the facts about tasks and, once a task is admitted, of its summary.
//!
//! It reads reports and facts from the stream RESULTS, merges them into the sets of each task (`sets`), and brings the
//! task's summary (`tasks`) up to them. The merge is pure ([`state`], [`conclude`]); everything may be delivered twice
//! and in any order. Every write names the revision that it builds on, so that several copies at work never undo each
//! other.

mod collector;
mod conclude;
mod gathered;
mod inbox;
mod measure;
mod pace;
mod service;
pub mod state;
mod store;

#[cfg(test)]
mod tests;

pub use service::{collect, run};
