//! How fast Muster is, beside how fast its broker could be: a whole system of real processes and a virtual fleet is
//! measured ([`rollout`], [`latency`]), and in the same run, with the same messages on a server with the same
//! settings, the bare operations of the broker that it cannot do without ([`raw`]).
//!
//! `make bench` runs all of it and writes `target/bench/report.json` ([`report`]).

pub mod bench;
pub mod document;
pub mod latency;
pub mod newcomers;
pub mod os;
pub mod plot;
pub mod raw;
pub mod report;
pub mod rollout;
pub mod statistics;
pub mod system;
pub mod tasks;
pub mod watch;
