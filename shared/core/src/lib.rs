//! The pure core of Muster: words, sets, decisions and statuses, without I/O, clock or randomness.

pub mod chain;
pub mod configuration;
pub mod content;
pub mod dead;
pub mod desired;
pub mod fact;
pub mod fleet;
pub mod function;
pub mod instant;
pub mod lane;
pub mod message;
pub mod names;
pub mod numbers;
pub mod plan;
pub mod problem;
pub mod query;
pub mod record;
pub mod schema;
pub mod stamp;
pub mod status;
pub mod summary;
pub mod target;
pub mod task;
pub mod token;
pub mod version;
