//! What is counted. An attribute's value is a name from a closed list, never the id of a task or an agent: so values
//! are `&'static str`, or the names of streams and consumers, of which there are as many as files under `nats/`.

use std::sync::LazyLock;
use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};
use opentelemetry::{KeyValue, global};

/// Buckets of what takes from milliseconds to a day, in seconds.
const LONG: [f64; 18] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0,
    86_400.0,
];
/// Buckets of an answer over the network, in seconds.
const SHORT: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];
/// Buckets of numbers of messages.
const SIZES: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 750.0, 1_000.0, 2_500.0, 5_000.0];

const TYPE: &str = "muster.task.type";
const STATE: &str = "muster.task.state";
const STATUS: &str = "muster.result.status";
const OUTCOME: &str = "muster.push.outcome";
const STREAM: &str = "messaging.destination.name";
const CONSUMER: &str = "messaging.consumer.group.name";

struct Instruments {
    tasks_ended: Counter<u64>,
    task_duration: Histogram<f64>,
    decided: Histogram<f64>,
    first_result: Histogram<f64>,
    commands: Counter<u64>,
    results: Counter<u64>,
    push: Histogram<f64>,
    open_pushes: UpDownCounter<i64>,
    lag: Gauge<u64>,
    consumed: Counter<u64>,
    redeliveries: Counter<u64>,
    commit: Histogram<u64>,
    flush: Histogram<u64>,
}

/// Made at their first use, which is after [`crate::start`].
static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = global::meter("muster");
    let seconds = |name: &'static str, buckets: &[f64], description: &'static str| {
        meter.f64_histogram(name).with_unit("s").with_boundaries(buckets.to_vec()).with_description(description).build()
    };
    Instruments {
        tasks_ended: counter(&meter, "muster.tasks.ended", "{task}", "Tasks that ended"),
        task_duration: seconds("muster.task.duration", &LONG, "From the publish of a task to its end"),
        decided: seconds("muster.task.decision.duration", &LONG, "From the publish of a task to its last decision"),
        first_result: seconds("muster.task.first_result.duration", &LONG, "From the publish to the first report"),
        commands: counter(&meter, "muster.commands.published", "{command}", "Commands published"),
        results: counter(&meter, "muster.results.collected", "{result}", "Reports of recipients that were stored"),
        push: seconds("muster.push.duration", &SHORT, "From the push of a command to the agent's answer"),
        open_pushes: meter
            .i64_up_down_counter("muster.pushes.open")
            .with_unit("{push}")
            .with_description("Pushes that wait for an answer")
            .build(),
        lag: meter
            .u64_gauge("muster.consumer.lag")
            .with_unit("{message}")
            .with_description("Messages that the consumer has not handed out, as of the last pull")
            .build(),
        consumed: counter(&meter, "messaging.client.consumed.messages", "{message}", "Messages that were delivered"),
        redeliveries: counter(&meter, "muster.consumer.redeliveries", "{message}", "Those delivered before"),
        commit: sizes(&meter, "muster.commit.messages", "Messages stored in one commit"),
        flush: sizes(&meter, "muster.collector.flush.messages", "Reports and facts stored in one go"),
    }
});

fn counter(meter: &Meter, name: &'static str, unit: &'static str, description: &'static str) -> Counter<u64> {
    meter.u64_counter(name).with_unit(unit).with_description(description).build()
}

fn sizes(meter: &Meter, name: &'static str, description: &'static str) -> Histogram<u64> {
    let builder = meter.u64_histogram(name).with_unit("{message}").with_description(description);
    builder.with_boundaries(SIZES.to_vec()).build()
}

/// A task ended; `age` since its publish.
pub fn task_ended(kind: &'static str, state: &'static str, age: Duration) {
    let attributes = [KeyValue::new(TYPE, kind), KeyValue::new(STATE, state)];
    INSTRUMENTS.tasks_ended.add(1, &attributes);
    INSTRUMENTS.task_duration.record(age.as_secs_f64(), &attributes);
}

/// The last page of a task was decided; `age` since its publish.
pub fn decided(kind: &'static str, age: Duration) {
    INSTRUMENTS.decided.record(age.as_secs_f64(), &[KeyValue::new(TYPE, kind)]);
}

/// The first report about a task was stored; `age` since its publish.
pub fn first_result(kind: &'static str, age: Duration) {
    INSTRUMENTS.first_result.record(age.as_secs_f64(), &[KeyValue::new(TYPE, kind)]);
}

/// Commands were published. Those of a page that is published again after a crash count again.
pub fn commands_published(kind: &'static str, count: usize) {
    INSTRUMENTS.commands.add(count as u64, &[KeyValue::new(TYPE, kind)]);
}

/// Reports with a status were stored. One that is delivered again after a crash counts again.
pub fn results(status: &'static str, count: u64) {
    INSTRUMENTS.results.add(count, &[KeyValue::new(STATUS, status)]);
}

/// A push of a command from a stream came to an end.
pub fn pushed(stream: &'static str, outcome: &'static str, took: Duration) {
    INSTRUMENTS.push.record(took.as_secs_f64(), &[KeyValue::new(STREAM, stream), KeyValue::new(OUTCOME, outcome)]);
}

/// An open push, until it is dropped.
pub struct OpenPush(());

impl OpenPush {
    /// One more push waits for an answer.
    #[must_use]
    pub fn begin() -> Self {
        INSTRUMENTS.open_pushes.add(1, &[]);
        Self(())
    }
}

impl Drop for OpenPush {
    fn drop(&mut self) {
        INSTRUMENTS.open_pushes.add(-1, &[]);
    }
}

/// A reader took `messages` of a consumer, of which `again` had been delivered before; `pending` are still to come.
pub fn pulled(stream: &str, consumer: &str, messages: usize, again: usize, pending: u64) {
    if !crate::is_on() {
        return;
    }
    let attributes = [KeyValue::new(STREAM, stream.to_owned()), KeyValue::new(CONSUMER, consumer.to_owned())];
    INSTRUMENTS.consumed.add(messages as u64, &attributes);
    // Also when it is none, so that the series is there before it rises.
    INSTRUMENTS.redeliveries.add(again as u64, &attributes);
    INSTRUMENTS.lag.record(pending, &attributes);
}

/// A commit stored so many messages in a stream.
pub fn committed(stream: &str, messages: usize) {
    if crate::is_on() {
        INSTRUMENTS.commit.record(messages as u64, &[KeyValue::new(STREAM, stream.to_owned())]);
    }
}

/// The collector stored what so many messages say.
pub fn flushed(messages: usize) {
    INSTRUMENTS.flush.record(messages as u64, &[]);
}
