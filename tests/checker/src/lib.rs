//! A checker that knows the product only by its contract: the files under `schemas/`, the subjects and keys of the
//! design, and what agents themselves say they did. It shares no crate with the product.
//!
//! [`Reader`] fills a [`World`] from a quiet system; [`check`] is pure and says what must not be.
//!
//! * Every task that was stored has ended, and its status and counts are those that its chain and the reports give.
//! * No recipient is missing, none is counted twice, and each has exactly one status with a cause.
//! * What a status says was done, the agent says it did; what an agent did, its status says.
//! * No edge command was done twice.
//! * Groups, records and agents agree: members, configurations, contents, names.
//! * Every stored message is valid against its schema, and nothing is left over.

mod account;
mod checks;
mod numbers;
mod read;
mod schemas;
mod status;
mod world;

pub use account::{Account, Did};
pub use checks::check;
pub use read::Reader;
pub use world::{Index, Reports, Task, Violation, World};
