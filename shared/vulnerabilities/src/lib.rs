//! The vulnerabilities of installed packages.
//!
//! * [`Database`]: a node's copy of the CTI feed at an offset. A snapshot is loaded as a whole, changes are applied batch by batch; what
//!   is on the disk is at every moment one of the states that the feed had.
//! * [`Database::match_packages`]: which vulnerabilities the packages of a system have, with the versions' order of its own package
//!   manager. What cannot be judged is reported as undetermined, never as safe.
//! * [`inventory`]: which packages a Linux system has.
//!
//! How a package is judged: its distribution's container of a CVE record speaks of it by name and release ([`distribution`]); the
//! version lies in one of the ranges given there or has the default status ([`judge`]). The record's author (`cna`) speaks of upstream's
//! products and versions, which say nothing of a distribution's packages, where fixes are backported; only its severity counts where
//! the distribution gives none.

pub mod affected;
pub mod cve_id;
pub mod database;
pub mod distribution;
pub mod error;
pub mod feed;
pub mod findings;
pub mod inventory;
pub mod judge;
pub mod matching;
pub mod pack;
pub mod package;
pub mod patch;
pub mod products;
pub mod severity;
mod store;
pub mod version;

pub use cve_id::CveId;
pub use database::{Applied, Database};
pub use error::Error;
pub use feed::{Batch, Record};
pub use findings::{Counts, Finding, Findings, Reason, Undetermined};
pub use inventory::Inventory;
pub use matching::MAX_PACKAGES;
pub use package::{Os, Package, Source};
pub use severity::Severity;
pub use store::Contents;
pub use version::Format;
