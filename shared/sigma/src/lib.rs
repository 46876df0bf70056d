//! The engine of a server node: rulesets of [Sigma](https://sigmahq.io) rules (specification 2), and which of their rules an
//! event matches.
//!
//! * [`Ruleset::load`] takes a body whole or says, for each file, why not. The function `ruleset-update` calls it before a
//!   body is stored, the node before it is in force.
//! * [`Event`] is a JSON object of bounded size and depth; [`Ruleset::matches`] judges it.
//! * [`Engine`] holds the ruleset in force and swaps it while events are judged.
//!
//! # A ruleset
//! A JSON object of file names and texts: at most 512 KiB and 2,000 files of 64 KiB, named like `web/brute_force.yml`.
//! A text holds one or more YAML documents (of the subset that [`muster_core::configuration::yaml`] reads), each a rule.
//! Fields of a rule that say nothing about what it matches are not looked at. Two rules with the same id are refused.
//!
//! # How a rule judges
//! * A field is a key of the event, or else a path with dots into objects; in lists one member has to match. A field that
//!   is null counts as one that is not there: `null` and `exists: false` find both, `neq` finds neither.
//! * Texts are compared without regard to case, unless `cased` is there. Numbers and texts that say the same are equal,
//!   and a wildcard matches the end of a line too.
//! * Keywords are looked for in all values of the event, also numbers.
//! * `logsource` is no condition: a rule is tried on every event, except on those whose field `logsource` (an object)
//!   names another `category`, `product` or `service` than the rule does. So an event that does not say where it comes
//!   from is tried with all rules, and naming a source can only spare a rule that is not meant for it.
//! * Supported modifiers: `contains`, `startswith`, `endswith`, `all`, `cased`, `neq`, `re` (`i`, `m`, `s`), `cidr`, `exists`,
//!   `fieldref`, `gt`, `gte`, `lt`, `lte`, `base64`, `base64offset` (`wide`, `utf16le`, `utf16be`, `utf16`), `windash`, and of
//!   times, in UTC, `minute`, `hour`, `day`, `week`, `month`, `year`.
//! * Refused, for they would be ignored: correlations, filters of other rules, collections (`action`), `timeframe`,
//!   aggregations, placeholders (`expand`), look-around in expressions, and whatever would never or always hold.
//!
//! # Bounds
//! Matching is linear in the event and in the rules. A ruleset has at most 10,000 lines in its detections, and its
//! expressions are bounded by the memory that they take as automata. `examples/throughput.rs` measures: by 1,000 ordinary
//! rules a thread judges some 50,000 events of 840 bytes a second, and one of the largest size in half a millisecond. By
//! the costliest rulesets that we could make up, which stay within the bounds, the latter took four seconds.
//!
//! # Which library
//! Compared in November 2026 by some 100 rules of the kinds that go wrong: `rsigma-parser` and `rsigma-eval` 0.23, and
//! `sigma-rust` 0.7.
//!
//! | | rsigma 0.23 | sigma-rust 0.7 |
//! |---|---|---|
//! | upkeep | 27 releases, the last on 2 November 2026; from 0.24 on they need Rust 1.96 | 9 releases, the last on 26 November 2025 |
//! | events | paths, lists, null for what is not there, numbers as texts | no lists; a missing field is never null; `42` is neither `"42"` nor less than `42.5` |
//! | keywords | part of a value | the whole value only |
//! | modifiers | all of the specification | no `neq`, flags of `re`, times; no networks with bits of a host |
//! | conditions | all, bounded depth | no `any of`, `2 of`, lists; takes `a) and b` for `a`; panics on `é`; unbounded recursion |
//! | many rules | an index finds the few to try | tries each |
//! | does not report | values that are maps, keys that are numbers, `exists: perhaps`, unknown selections, `timeframe` | unknown selections, empty maps, `gt: text` |
//! | gets wrong | `base64offset`, `windash` with `/` or wildcards, wildcards over lines, `'|all'` of keywords, null in lists | see above |
//!
//! So it is rsigma, for what it gets wrong can be given to it in another form, and what it ignores can be refused before.
//! This crate reads the documents itself and uses of rsigma: the conditions' grammar, wildcards, modifiers' names, the
//! comparisons and the index. Places where its behaviour is the reason for ours say so. When the workspace moves to Rust
//! 1.96, take its current release and see which of them can go: the tables in `cases/` tell.

mod budget;
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
