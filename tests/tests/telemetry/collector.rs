//! A collector of OpenTelemetry for tests: it takes OTLP over HTTP on loopback and keeps what it is sent.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tokio::net::TcpListener;

/// A span as it was received.
#[derive(Debug, Clone)]
pub struct Span {
    pub service: String,
    pub scope: String,
    pub name: String,
    pub kind: SpanKind,
    pub trace: String,
    pub id: String,
    pub parent: String,
    /// The traces that it is linked to.
    pub links: Vec<String>,
    pub attributes: HashMap<String, String>,
}

/// One series of a metric, by its newest value.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub name: String,
    pub unit: String,
    pub attributes: HashMap<String, String>,
    /// The sum of a counter, the value of a gauge, the count of a histogram.
    pub value: f64,
    /// The sum of a histogram.
    pub sum: f64,
}

#[derive(Default)]
struct Kept {
    spans: Vec<Span>,
    /// By process, name and attributes.
    series: HashMap<String, Series>,
    /// All attributes that ever came with metrics, those of resources too.
    values: Vec<(String, String)>,
}

/// The collector.
#[derive(Clone)]
pub struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

impl Collector {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let collector = Self { address: listener.local_addr()?, kept: Arc::default() };
        let app = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .layer(DefaultBodyLimit::max(16 << 20))
            .with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(collector)
    }

    /// What a process must be told to export to it, often.
    pub fn variables(&self) -> Vec<(String, String)> {
        let of = |name: &str, value: String| (name.to_owned(), value);
        vec![
            of("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.address)),
            of("OTEL_BSP_SCHEDULE_DELAY", "100".into()),
            of("OTEL_METRIC_EXPORT_INTERVAL", "300".into()),
        ]
    }

    pub fn spans(&self) -> Vec<Span> {
        self.kept.lock().unwrap().spans.clone()
    }

    pub fn series(&self) -> Vec<Series> {
        self.kept.lock().unwrap().series.values().cloned().collect()
    }

    pub fn values_of_metrics(&self) -> Vec<(String, String)> {
        self.kept.lock().unwrap().values.clone()
    }

    /// The series of a metric with these attributes, added up over all processes.
    pub fn total(&self, name: &str, attributes: &[(&str, &str)]) -> Series {
        let fits = |series: &Series| {
            series.name == name && attributes.iter().all(|(k, v)| series.attributes.get(*k).is_some_and(|x| x == v))
        };
        let mut all = self.series().into_iter().filter(fits);
        let first = all.next().unwrap_or_else(|| panic!("no series of {name} with {attributes:?}"));
        all.fold(first, |sum, one| Series { value: sum.value + one.value, sum: sum.sum + one.sum, ..sum })
    }
}

async fn traces(State(collector): State<Collector>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut kept = collector.kept.lock().unwrap();
    for resource in request.resource_spans {
        let service = attributes(&resource.resource.unwrap_or_default().attributes).remove("service.name");
        for scope in resource.scope_spans {
            let name = scope.scope.unwrap_or_default().name;
            kept.spans.extend(scope.spans.into_iter().map(|span| Span {
                service: service.clone().unwrap_or_default(),
                scope: name.clone(),
                kind: span.kind(),
                attributes: attributes(&span.attributes),
                links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
            }));
        }
    }
    StatusCode::OK
}

async fn metrics(State(collector): State<Collector>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportMetricsServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut kept = collector.kept.lock().unwrap();
    for resource in request.resource_metrics {
        let of = attributes(&resource.resource.unwrap_or_default().attributes);
        let process = of.get("service.instance.id").cloned().unwrap_or_default();
        kept.values.extend(of);
        for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            for (of, value, sum) in points(metric.data) {
                kept.values.extend(of.clone());
                let mut key: Vec<_> = of.iter().collect();
                key.sort();
                let key = format!("{process} {} {key:?}", metric.name);
                let (name, unit) = (metric.name.clone(), metric.unit.clone());
                kept.series.insert(key, Series { name, unit, attributes: of, value, sum });
            }
        }
    }
    StatusCode::OK
}

type Point = (HashMap<String, String>, f64, f64);

fn points(data: Option<metric::Data>) -> Vec<Point> {
    let number = |point: opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| {
        let value = match point.value {
            Some(number_data_point::Value::AsInt(value)) => value as f64,
            Some(number_data_point::Value::AsDouble(value)) => value,
            None => f64::NAN,
        };
        (attributes(&point.attributes), value, value)
    };
    match data {
        Some(metric::Data::Sum(sum)) => sum.data_points.into_iter().map(number).collect(),
        Some(metric::Data::Gauge(gauge)) => gauge.data_points.into_iter().map(number).collect(),
        Some(metric::Data::Histogram(histogram)) => {
            let point = |p: opentelemetry_proto::tonic::metrics::v1::HistogramDataPoint| {
                (attributes(&p.attributes), p.count as f64, p.sum.unwrap_or(f64::NAN))
            };
            histogram.data_points.into_iter().map(point).collect()
        }
        other => panic!("a kind of metric that nobody makes: {other:?}"),
    }
}

fn attributes(all: &[KeyValue]) -> HashMap<String, String> {
    let text = |value: &KeyValue| match value.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.iter().map(|one| (one.key.clone(), text(one))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
