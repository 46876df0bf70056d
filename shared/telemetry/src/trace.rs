//! The trace of a task, from message to message.
//!
//! A message carries where it comes from in a header ([`Origin`]): `traceparent` (W3C Trace Context) makes what is done
//! with it a part of the same trace. A task with more than [`MAX_CHILDREN`] recipients would be a trace that no tool
//! can show: its commands carry the same value in `tracelink`, and what is done with them is linked to the task.
//!
//! Within a process both follow OpenTelemetry's current context, which is set with [`Traced::run`] and goes with the
//! future, not with tasks that are spawned from it.

use std::borrow::Cow;
use std::collections::HashSet;

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{FutureExt, Link, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The header that makes what is done with a message a part of a trace; W3C Trace Context, version 00.
pub const PARENT: &str = "traceparent";
/// The header, of the same form, that links what is done with a message to a trace.
pub const LINK: &str = "tracelink";
/// A task with so many recipients is one trace; above, what its recipients do is linked to it.
pub const MAX_CHILDREN: u64 = 64;
/// A span has at most so many links.
const MAX_LINKS: usize = 64;
/// The attribute that holds a task's id.
const TASK: &str = "messaging.message.conversation_id";

/// Where a message comes from in a trace.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Origin {
    /// From nowhere that is known.
    #[default]
    None,
    /// What is done with it is a part of this span's trace.
    Parent(SpanContext),
    /// What is done with it has a trace of its own, linked to this span.
    Link(SpanContext),
}

impl Origin {
    /// From a message's headers. A header of another form is as good as none.
    pub fn of<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let read = |name| header(name).and_then(parse);
        read(PARENT).map(Self::Parent).or_else(|| read(LINK).map(Self::Link)).unwrap_or_default()
    }

    /// From a header that can only name a parent.
    pub fn parent(header: Option<&str>) -> Self {
        header.and_then(parse).map_or(Self::None, Self::Parent)
    }

    /// What goes out with a message now: the current span, or the link that the current work came with.
    pub fn current() -> Self {
        Context::map_current(|context| match context.get::<Work>() {
            Some(Work { origin: link @ Self::Link(_), .. }) => link.clone(),
            _ => valid(context).map_or(Self::None, Self::Parent),
        })
    }

    /// What goes out with each command of a task with so many recipients.
    pub fn for_recipients(count: u64) -> Self {
        match Self::current() {
            Self::Parent(span) if count > MAX_CHILDREN => Self::Link(span),
            origin => origin,
        }
    }

    /// The header of a message from here, name and value.
    pub fn header(&self) -> Option<(String, String)> {
        let (name, span) = match self {
            Self::None => return None,
            Self::Parent(span) => (PARENT, span),
            Self::Link(span) => (LINK, span),
        };
        let flags = span.trace_flags().to_u8();
        Some((name.to_owned(), format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id())))
    }
}

fn valid(context: &Context) -> Option<SpanContext> {
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}

fn parse(value: &str) -> Option<SpanContext> {
    /// The one header that the propagator is to see.
    struct Only<'a>(&'a str);
    impl Extractor for Only<'_> {
        fn get(&self, name: &str) -> Option<&str> {
            (name == PARENT).then_some(self.0)
        }
        fn keys(&self) -> Vec<&str> {
            vec![PARENT]
        }
    }
    // The form has 55 bytes; later versions may add to it.
    if value.len() > 128 {
        return None;
    }
    valid(&TraceContextPropagator::new().extract_with_context(&Context::new(), &Only(value)))
}

/// What goes with a context beside its span.
struct Work {
    /// The part of the system that is at work: the scope of its spans.
    part: &'static str,
    origin: Origin,
}

/// A span that has begun. It ends when this, and what it runs, is dropped.
pub struct Traced(Context);

impl Traced {
    /// A part of the system does something with a message that comes from `origin`. Names are those of a closed list.
    fn begin(part: &'static str, operation: Operation, to: Cow<'static, str>, origin: Origin) -> Self {
        let mut builder = operation.span(to);
        let mut parent = Context::new();
        match &origin {
            Origin::None => {}
            Origin::Parent(span) => parent = parent.with_remote_span_context(span.clone()),
            Origin::Link(span) => builder = builder.with_links(vec![Link::with_context(span.clone())]),
        }
        Self(parent.with_value(Work { part, origin })).span(builder)
    }

    /// The same with a span of its own.
    fn span(self, builder: SpanBuilder) -> Self {
        let part = self.0.get::<Work>().map_or("muster", |work| work.part);
        let span = global::tracer(part).build_with_context(builder, &self.0);
        Self(self.0.with_span(span))
    }

    /// Processes a message of a stream.
    pub fn process(part: &'static str, subject: impl Into<Cow<'static, str>>, origin: Origin) -> Self {
        Self::begin(part, Operation::Process, subject.into(), origin)
    }

    /// Sends a message and waits for what comes of it.
    pub fn send(part: &'static str, subject: impl Into<Cow<'static, str>>, origin: Origin) -> Self {
        Self::begin(part, Operation::Publish, subject.into(), origin)
    }

    /// Processes messages of a stream together, linked to where they come from: to each trace once. Without any trace
    /// there is no span.
    pub fn batch<'a, H>(
        part: &'static str,
        stream: &'static str,
        count: usize,
        headers: impl Iterator<Item = H>,
    ) -> Self
    where
        H: Fn(&str) -> Option<&'a str>,
    {
        let links = if crate::is_on() { links(headers) } else { Vec::new() };
        if links.is_empty() {
            return Self(Context::new());
        }
        let traced = Self::begin(part, Operation::Process, stream.into(), Origin::None);
        let span = traced.0.span();
        for link in links {
            span.add_link(link, Vec::new());
        }
        span.set_attribute(KeyValue::new("messaging.batch.message_count", i64::try_from(count).unwrap_or(i64::MAX)));
        traced
    }

    /// No span: only what is sent meanwhile carries `origin` on.
    pub fn nothing(part: &'static str, origin: Origin) -> Self {
        Self(match &origin {
            Origin::None => Context::new(),
            Origin::Parent(span) => Context::new().with_remote_span_context(span.clone()),
            Origin::Link(_) => Context::new().with_value(Work { part, origin }),
        })
    }

    /// The current context, for work that is spawned.
    pub fn current() -> Self {
        Self(Context::current())
    }

    /// Says which task it is about.
    #[must_use]
    pub fn task(self, id: &str) -> Self {
        self.0.span().set_attribute(KeyValue::new(TASK, id.to_owned()));
        self
    }

    /// Runs something within it.
    // Not an `async fn`, which would hold the work twice: there is one of these for each push.
    pub fn run<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        work.with_context(self.0)
    }
}

/// Runs a step of the current work as a span of its own; where nothing is traced, just the step.
pub async fn step<F: Future>(name: &'static str, work: F) -> F::Output {
    child(SpanBuilder::from_name(name), work).await
}

/// Runs the publishing of messages to a stream as a span of its own; what they carry on is this span.
pub async fn publish<F: Future>(stream: &'static str, messages: usize, work: F) -> F::Output {
    let work = async {
        self::messages(messages);
        work.await
    };
    child(Operation::Publish.span(stream.into()), work).await
}

async fn child<F: Future>(builder: SpanBuilder, work: F) -> F::Output {
    let context = Context::current();
    if !context.span().is_recording() {
        return work.await;
    }
    Traced(context).span(builder).run(work).await
}

/// Says which task the current work is about.
pub fn task(id: &str) {
    set(TASK, || id.to_owned().into());
}

/// Says how many messages the current work is about.
pub fn messages(count: usize) {
    set("messaging.batch.message_count", || i64::try_from(count).unwrap_or(i64::MAX).into());
}

/// Says how the current push ended.
pub fn outcome(name: &'static str) {
    set("muster.push.outcome", || name.into());
}

/// Says that the current work failed, and what kind of fault it was.
pub fn failed(kind: &'static str) {
    set("error.type", || kind.into());
    Context::map_current(|context| context.span().set_status(Status::error(kind)));
}

fn set(name: &'static str, value: impl FnOnce() -> opentelemetry::Value) {
    Context::map_current(|context| {
        let span = context.span();
        if span.is_recording() {
            span.set_attribute(KeyValue::new(name, value()));
        }
    });
}

/// One span of each trace that headers name, at most [`MAX_LINKS`].
fn links<'a, H: Fn(&str) -> Option<&'a str>>(headers: impl Iterator<Item = H>) -> Vec<SpanContext> {
    let (mut seen, mut links) = (HashSet::new(), Vec::new());
    for header in headers {
        // Thousands carry the same trace: it is looked at once.
        let Some(value) = header(PARENT).or_else(|| header(LINK)) else { continue };
        if links.len() < MAX_LINKS && seen.insert(value.get(3..35)) {
            links.extend(parse(value));
        }
    }
    links
}

#[derive(Clone, Copy)]
enum Operation {
    Process,
    Publish,
}

impl Operation {
    /// A span of this operation, named and described as the semantic conventions of messaging have it.
    fn span(self, to: Cow<'static, str>) -> SpanBuilder {
        let (name, operation, kind) = match self {
            Self::Process => ("process", "process", SpanKind::Consumer),
            Self::Publish => ("publish", "send", SpanKind::Producer),
        };
        SpanBuilder::from_name(format!("{name} {to}")).with_kind(kind).with_attributes(vec![
            KeyValue::new("messaging.system", "nats"),
            KeyValue::new("messaging.operation.type", operation),
            KeyValue::new("messaging.operation.name", name),
            KeyValue::new("messaging.destination.name", to),
        ])
    }
}
