//! Group commit: what arrives while the last group is being written makes up the next one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use muster_broker::Clock;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How groups are made.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// At most so many in a group.
    pub most: usize,
    /// So many groups are written at once.
    pub in_flight: usize,
    /// How long a group waits for company when none is being written.
    pub idle: Duration,
    /// And when one is.
    pub busy: Duration,
}

/// Takes single things and hands them on in groups. It ends with [`Gather::close`].
pub struct Gather<T> {
    sender: mpsc::Sender<T>,
    closing: CancellationToken,
    ended: CancellationToken,
}

impl<T: Send + 'static> Gather<T> {
    /// Starts it; `store` is given each group.
    pub fn start<F, Fut>(clock: Arc<dyn Clock>, pace: Pace, store: F) -> Self
    where
        F: Fn(Vec<T>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(4 * pace.most);
        let (closing, ended) = (CancellationToken::new(), CancellationToken::new());
        let (asked, over) = (closing.clone(), ended.clone().drop_guard());
        tokio::spawn(async move {
            work(clock, pace, receiver, asked, store).await;
            drop(over);
        });
        Self { sender, closing, ended }
    }

    /// Adds one; waits while too many wait already. What comes after the close is dropped.
    pub async fn add(&self, one: T) {
        let _ = self.sender.send(one).await;
    }

    /// Adds one, or drops it when too many wait already.
    pub fn offer(&self, one: T) {
        let _ = self.sender.try_send(one);
    }

    /// Adds one that carries the sender of its answer, and waits for the answer; none after the close.
    pub async fn ask<A>(&self, one: impl FnOnce(oneshot::Sender<A>) -> T) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        self.add(one(answer)).await;
        answered.await.ok()
    }

    /// Writes what has been added, and ends.
    pub async fn close(&self) {
        self.closing.cancel();
        self.ended.cancelled().await;
    }
}

async fn work<T, F, Fut>(
    clock: Arc<dyn Clock>,
    pace: Pace,
    mut receiver: mpsc::Receiver<T>,
    closing: CancellationToken,
    store: F,
) where
    T: Send + 'static,
    F: Fn(Vec<T>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let writers = Arc::new(Semaphore::new(pace.in_flight));
    // The semaphore is never closed, so a permit always comes.
    while let Ok(permit) = writers.clone().acquire_owned().await {
        let mut group = Vec::new();
        tokio::select! {
            _ = receiver.recv_many(&mut group, pace.most) => {}
            () = closing.cancelled(), if !receiver.is_closed() => {
                receiver.close();
                receiver.recv_many(&mut group, pace.most).await;
            }
        }
        if group.is_empty() {
            break;
        }
        let idle = writers.available_permits() + 1 == pace.in_flight;
        linger(&*clock, if idle { pace.idle } else { pace.busy }, pace.most, &mut receiver, &mut group).await;
        let writing = store(group);
        tokio::spawn(async move {
            writing.await;
            drop(permit);
        });
    }
    let _ = writers.acquire_many(u32::try_from(pace.in_flight).unwrap_or(1)).await;
}

async fn linger<T>(
    clock: &dyn Clock,
    pause: Duration,
    most: usize,
    receiver: &mut mpsc::Receiver<T>,
    group: &mut Vec<T>,
) {
    if pause.is_zero() {
        return;
    }
    let mut pause = clock.sleep(pause);
    while group.len() < most {
        let room = most - group.len();
        tokio::select! {
            biased;
            taken = receiver.recv_many(group, room) => if taken == 0 { return },
            () = &mut pause => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use muster_broker::SystemClock;

    use super::*;

    #[tokio::test]
    async fn everything_is_written_in_bounded_groups_before_the_close_returns() {
        let groups = Arc::new(Mutex::new(Vec::<Vec<u32>>::new()));
        let seen = groups.clone();
        let pace = Pace { most: 50, in_flight: 2, idle: Duration::ZERO, busy: Duration::from_millis(5) };
        let gather = Gather::start(Arc::new(SystemClock), pace, move |group: Vec<u32>| {
            let seen = seen.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                seen.lock().unwrap().push(group);
            }
        });
        for n in 0..500 {
            gather.add(n).await;
        }
        gather.close().await;
        gather.add(500).await;
        let groups = groups.lock().unwrap();
        assert!(groups.iter().all(|group| (1..=50).contains(&group.len())));
        let mut all: Vec<u32> = groups.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..500).collect::<Vec<_>>());
        assert!(groups.len() < 250, "{} groups for 500", groups.len());
    }
}
