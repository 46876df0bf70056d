//! Waiting for what must become true, without asserting how long it takes.

use std::{fmt::Debug, future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

/// How long a test waits for something that must happen. Generous: tests assert no times.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(50);

/// What one look gives: the value, or how things stand instead.
pub trait Attempt {
    /// The value waited for.
    type Value;

    /// The value, or a text that says what was seen instead.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl<T> Attempt for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "None".to_owned())
    }
}

impl<T, E: Debug> Attempt for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:?}"))
    }
}

/// Looks again and again until a look gives a value (`Some` or `Ok`), and returns it.
///
/// # Panics
/// After `limit` (usually [`PATIENCE`]), with `what` and what the last look saw: a look
/// that answers `Err(state)` makes the better message. A look that hangs is given up
/// at the limit too.
#[allow(clippy::panic)]
pub async fn eventually<A, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> A::Value
where
    A: Attempt,
    F: Future<Output = A>,
{
    let deadline = Instant::now() + limit;
    let mut last = "nothing: the first look did not return".to_owned();
    loop {
        match timeout_at(deadline, look()).await.map(A::outcome) {
            Ok(Ok(value)) => return value,
            Ok(Err(seen)) => last = seen,
            Err(_) => {}
        }
        if Instant::now() + PAUSE >= deadline {
            panic!("waited {limit:?} for: {what}; last seen: {last}");
        }
        sleep(PAUSE).await;
    }
}
