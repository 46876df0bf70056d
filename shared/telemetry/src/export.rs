//! What leaves the process: spans and metrics, as OTLP over HTTP.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider};

use crate::client::Client;

/// Where the collector is; with none of these set nothing is exported.
const ENDPOINTS: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"];
/// How long the end of a process waits for a collector that does not answer, for each of the two signals.
const PATIENCE: Duration = Duration::from_secs(3);

static ON: AtomicBool = AtomicBool::new(false);

/// Whether this process exports.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// The running export. What is left is sent when it is dropped, which may take some seconds where no collector answers.
#[must_use = "dropped at once it exports nothing"]
pub struct Exporting {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

/// Starts to export, when the environment names a collector; none otherwise, and none when the variables cannot be
/// used, which is logged: a process runs without telemetry rather than not at all. `OTEL_SERVICE_NAME` goes before
/// `service`. Sampling, intervals, headers and the resource are set by OpenTelemetry's variables.
pub fn start(service: &'static str) -> Option<Exporting> {
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    if disabled || !ENDPOINTS.iter().any(set) {
        return None;
    }
    match build(service) {
        Ok(exporting) => {
            global::set_tracer_provider(exporting.traces.clone());
            global::set_meter_provider(exporting.metrics.clone());
            ON.store(true, Ordering::Relaxed);
            Some(exporting)
        }
        Err(error) => {
            tracing::error!(%error, "no telemetry is exported");
            None
        }
    }
}

fn build(service: &'static str) -> Result<Exporting, ExporterBuildError> {
    let spans = SpanExporter::builder().with_http().with_http_client(Client).build()?;
    let metrics = MetricExporter::builder().with_http().with_http_client(Client).build()?;
    // The builder has read OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES; what is added goes before them.
    let named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty());
    let mut resource = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", RandomIdGenerator::default().new_trace_id().to_string()),
    ]);
    if !named {
        resource = resource.with_service_name(service);
    }
    let resource = resource.build();
    Ok(Exporting {
        traces: SdkTracerProvider::builder().with_batch_exporter(spans).with_resource(resource.clone()).build(),
        metrics: SdkMeterProvider::builder().with_periodic_exporter(metrics).with_resource(resource).build(),
    })
}

impl Drop for Exporting {
    fn drop(&mut self) {
        let ended = self.traces.shutdown_with_timeout(PATIENCE).and(self.metrics.shutdown_with_timeout(PATIENCE));
        if let Err(error) = ended {
            tracing::warn!(%error, "the last of the telemetry was not sent");
        }
    }
}
