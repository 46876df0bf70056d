//! What every implementation of [`crate::Broker`] must do, as named cases.

mod deliveries;
mod expiry;
mod reads;
mod writes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::future::{BoxFuture, Either, select};
use serde_json::{Value, json};

use crate::{Bus, Clock, Fault};

/// What a case works on. It names subjects and keys of its own, so that all can share one broker.
#[derive(Clone)]
pub struct Fixture {
    /// The broker, with the streams and buckets of `nats/` and with [`consumers`].
    pub bus: Bus,
    /// The clock by which the broker's lives and delays pass.
    pub clock: Arc<dyn Clock>,
}

/// The durable consumers that the cases read from, besides those of `nats/`: stream and configuration. They redeliver
/// sooner, so that the cases need not wait long.
pub fn consumers() -> Vec<(&'static str, Value)> {
    let of = |name: &str, max_ack_pending: u32, ack_wait: u64| {
        json!({
            "durable_name": format!("conformance-{name}"), "filter_subject": format!("tasks.conformance-{name}"),
            "deliver_policy": "all", "ack_policy": "explicit", "ack_wait": ack_wait * 1_000_000_000,
            "max_deliver": -1, "max_ack_pending": max_ack_pending, "max_waiting": 512, "replay_policy": "instant",
        })
    };
    let all = [
        of("order", 1000, 30),
        of("nak", 1000, 30),
        of("ack-wait", 1000, 1),
        // Longer than any case waits: nothing comes again by itself.
        of("close", 1000, 600),
        of("progress", 1000, 4),
        of("one", 1, 30),
    ];
    all.into_iter().map(|consumer| ("TASKS", consumer)).collect()
}

type Case = fn(Fixture) -> BoxFuture<'static, Result<()>>;

macro_rules! cases {
    ($($module:ident::$case:ident,)*) => {
        &[$((stringify!($case), |fixture| Box::pin($module::$case(fixture))),)*]
    };
}

const CASES: &[(&str, Case)] = cases![
    writes::a_batch_is_all_or_nothing,
    writes::a_put_needs_the_newest_revision,
    writes::what_is_there_is_not_created,
    writes::a_deleted_key_is_created_over_its_marker,
    writes::a_batch_writes_a_subject_once,
    writes::a_key_that_is_only_read_can_be_checked,
    writes::a_message_carries_one_expectation,
    writes::a_batch_has_a_limit,
    writes::insert_once_refuses_the_second,
    writes::insert_once_takes_again_what_was_purged,
    writes::a_repeated_publish_is_no_error,
    writes::a_mailbox_keeps_the_newest,
    writes::what_is_too_big_is_refused,
    reads::a_read_sees_the_write_before_it,
    reads::reading_many_leaves_out_what_is_missing,
    reads::reading_more_than_a_request_holds,
    reads::reading_many_large_values,
    reads::reading_many_at_once,
    reads::a_list_names_what_a_filter_covers,
    reads::a_scan_gives_the_newest_of_each,
    reads::a_scan_of_nothing_ends,
    reads::an_unknown_stream_is_unavailable,
    deliveries::messages_come_in_order_with_all_they_carry,
    deliveries::a_message_handed_back_comes_again,
    deliveries::a_message_not_settled_comes_again,
    deliveries::what_was_not_taken_is_handed_back_at_the_close,
    deliveries::progress_puts_off_redelivery,
    deliveries::one_at_a_time_between_two_readers,
    deliveries::an_unknown_consumer_is_unavailable,
    expiry::a_message_goes_after_its_life,
    expiry::insert_once_takes_again_what_has_expired,
    expiry::a_schedule_fires_once,
    expiry::a_purged_schedule_does_not_fire,
];

/// Runs all cases, each on what `make` gives, one after the other.
///
/// # Errors
/// The names of the cases that failed, and how.
pub async fn run<F, Made>(make: F) -> Result<()>
where
    F: Fn() -> Made,
    Made: Future<Output = Fixture>,
{
    let mut failures = Vec::new();
    for (name, case) in CASES {
        match case(make().await).await {
            Ok(()) => println!("conformance: {name}: ok"),
            Err(failure) => failures.push(format!("{name}: {failure:#}")),
        }
    }
    ensure!(failures.is_empty(), "{} of {} cases failed:\n{}", failures.len(), CASES.len(), failures.join("\n"));
    Ok(())
}

/// What must happen happens within this; generous, since no case asserts a time.
const PATIENCE: Duration = Duration::from_secs(60);

impl Fixture {
    /// The outcome of `action`, or none if it takes longer.
    async fn within<T>(&self, limit: Duration, action: impl Future<Output = T> + Send) -> Option<T> {
        match select(Box::pin(action), self.clock.sleep(limit)).await {
            Either::Left((outcome, _)) => Some(outcome),
            Either::Right(_) => None,
        }
    }

    /// Waits until a subject holds a message, or holds none.
    async fn until(&self, stream: &str, subject: &str, there: bool) -> Result<()> {
        let waited = async {
            while self.bus.get(stream, subject).await?.is_some() != there {
                self.clock.sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        self.within(PATIENCE, waited).await.with_context(|| format!("waited for {subject}, there: {there}"))?
    }
}

/// Fails unless it went wrong in just this way.
fn refused<T>(outcome: Result<T, Fault>, as_expected: impl Fn(&Fault) -> bool, what: &str) -> Result<()> {
    match outcome {
        Err(fault) if as_expected(&fault) => Ok(()),
        Err(fault) => bail!("{what}: {fault:?}"),
        Ok(_) => bail!("{what}: it was accepted"),
    }
}

fn conflict<T>(outcome: Result<T, Fault>, what: &str) -> Result<()> {
    refused(outcome, |fault| *fault == Fault::Conflict, what)
}
