//! Security Configuration Assessment: policies of Wazuh, checked before they are stored and run on Linux.
//!
//! * [`Policy::parse`] takes the YAML of a policy whole, or says of each fault where it is. The function `sca-policy` calls
//!   it before a policy is stored, the agent before one is in force.
//! * [`scan`] judges its checks on a [`System`]: [`Linux`] is the machine, [`Memory`] one for tests. It is pure but for that.
//! * [`Report`] lists every check, [`Summary`] fits into a result's data.
//!
//! # A policy
//! The forms of Wazuh 4.x (`title`, `compliance` as a list) and 5.x (`name`, `mitre`): `policy.schema.json` says what is
//! read. YAML is the strict subset of [`muster_core::configuration::yaml`], at most 512 KiB. Bounds: 2,000 checks, 255
//! rules each, a rule of 4,096 characters and 16 KiB with its variables, 256 variables.
//!
//! # A rule
//! | rule | holds |
//! |---|---|
//! | `f:PATHS` | a regular file is there |
//! | `f:PATHS -> CONTENT` | its content is so |
//! | `d:PATHS` | a directory is there |
//! | `d:PATHS -> NAME` | a file of that name is in it or below; links to directories are not followed |
//! | `d:PATHS -> NAME -> CONTENT` | and its content is so |
//! | `p:NAME` | a process has that name: its own, its program's path, or the path's last part |
//! | `c:COMMAND` | it ran to its end, with whatever code |
//! | `c:COMMAND -> CONTENT` | what it wrote to both outputs is so |
//! | `r:...` | not applicable: the registry of Windows |
//!
//! `not ` or `!` before a rule turns it round. PATHS is a list with commas: the rule holds when it holds for one. NAME and
//! CONTENT are terms with ` && ` between them; **one line** has to satisfy all: `r:EXPRESSION` matches somewhere in it,
//! `n:EXPRESSION compare <= 4` captures such a number (without a group, all that is matched), anything else is the whole
//! line. `!` before a term turns it round, and **a single negated term means that no line matches**, so it holds for an
//! empty text. `$variables` are replaced everywhere but after a `\`; one that is left in a path or a program's name is not
//! defined, and refused. A literal NAME is the whole name, as in 5.0; 4.x takes it for a part of one. Commands need
//! [`Options::commands`].
//!
//! # What is not known
//! Every rule is true, false or not known ([`Verdict`], Kleene's logic), and the condition (`all`, `any`, `none`) combines
//! them: a check whose known rules do not decide it alone is `not applicable`, with the reason of the first that is not known.
//! That is Wazuh's table, taken seriously within lists and lines too. So, in the words of Wazuh 4.14 and 5.0 (`wm_sca.c`,
//! `sca_policy_check.cpp`):
//!
//! * A missing file or directory makes `f:` and `d:` alone false, and so `not f:` true. With content it is **not known**,
//!   negated or not, and likewise when a list names a file that is missing and no other file decides.
//! * What is there and is no regular file (no directory) is not known, as in 4.x; 5.0 takes it for missing.
//! * Not known are also: what may not be read, a file beyond 4 MiB and output beyond 1 MiB where what was read does not
//!   decide, a line beyond 64 KiB, a command that is not allowed, not found, killed, ends with 126 or 127, or takes too
//!   long, what takes more than 5 seconds to match, processes when those of others are hidden, a number that is none, an expression that takes too many steps.
//! * An expression that does not compile makes its whole check not applicable; Wazuh 4.x takes it for one that never
//!   matches, so that `!r:` with it passes. A command with an open `"` makes its check not applicable too: Windows, which
//!   does not split commands, may well mean it.
//! * Requirements that do not hold, or are not known to, make the policy not applicable as a whole. So a policy for
//!   another system loads and is not applicable.
//!
//! # Expressions
//! Without `regex_type` they are [`OsRegex`], of which this crate has an implementation of its own, for there is no other
//! in Rust. `regex_type: pcre2`, of a policy or a check, selects PCRE2, case-sensitive as in Wazuh 4.x. Compared in
//! November 2026:
//!
//! | | `pcre2` 0.2.11 (C, PCRE2 10.46) | `fancy-regex` 0.20 |
//! |---|---|---|
//! | says the same as Wazuh | yes: it is the same library, on bytes | not always, and does not tell: `\h` is a hex digit, `\<` a word's start, `[[]` and `[a&&b]` are other sets, `\d` and `\w` are Unicode's |
//! | text that is no UTF-8 | yes | no |
//! | limits | steps and memory, set before each expression | steps |
//! | safety | C, without its JIT compiler, fuzzed upstream for years | Rust |
//!
//! Policies of CIS benchmarks use `\h` all over, and a check that silently looks for something else is worse than one that
//! cannot be run. So it is `pcre2`.
//!
//! # Bounds
//! OSRegex is linear in the line for each step of the expression. PCRE2 has limits for each place of a line. Matching one
//! text is given up after 5 seconds, a directory after 20,000 entries, a command after the time that [`Linux`] is given, and
//! the scan after [`Options::time`]. `examples/scan.rs` runs a policy and measures: the benchmark of CIS for Debian 12 (340
//! KB, 181 checks) is read in 10 ms, takes 2 ms without commands and 5 s with them, and less than 14 MiB of memory with the
//! program itself. The worst expressions that we could make up took 6 seconds for a file of 4 MiB.

mod content;
mod evaluate;
mod osregex;
mod pattern;
mod policy;
mod report;
mod rule;
mod scan;
mod system;
mod verdict;

pub use self::osregex::OsRegex;
pub use self::policy::{Check, MAX_BYTES, MAX_PROBLEMS, Policy};
pub use self::report::{CheckReport, Outcome, Report, Summary, Totals};
pub use self::scan::{Options, scan};
#[cfg(target_os = "linux")]
pub use self::system::Linux;
pub use self::system::{Entry, Kind, Memory, System, Text, Trouble};
pub use self::verdict::Verdict;
