//! Doc to come.
mod condition;
mod detection;
mod encoded;
mod engine;
mod event;
mod files;
mod item;
mod pattern;
mod rule;
mod ruleset;
mod text;
mod value;

pub use self::engine::{Counts, Engine, Verdict};
pub use self::event::{Event, MAX_DEPTH, MAX_EVENT};
pub use self::files::{MAX_BODY, MAX_FILE, MAX_FILES, MAX_NAME};
pub use self::rule::Level;
pub use self::ruleset::{MAX_DOCUMENTS, MAX_PROBLEMS, Match, Ruleset};
