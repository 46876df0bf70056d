//! Traces and metrics of every process, in the terms of OpenTelemetry: how they leave the process ([`start`]), how a
//! task's trace goes from message to message ([`trace`]), and what is counted ([`metrics`]). `docs/telemetry.md` names
//! it all.
//!
//! It stands on OpenTelemetry's own API and not on `tracing`: log lines name agents, and what is exported never does.
//! Without `OTEL_EXPORTER_OTLP_ENDPOINT` nothing is started; a trace that comes with a task is passed on all the same.

mod client;
mod export;
pub mod metrics;
pub mod trace;

pub use export::{Exporting, is_on, start};
