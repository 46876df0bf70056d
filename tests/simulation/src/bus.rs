//! The broker as a process sees it: late, sometimes away, and with answers that get lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use muster_broker::{Broker, Deliveries, Delivery, Entry, Fault, Settle, Write};
use tokio::time::sleep;

use crate::process::Process;

/// How long a process waits for an answer that does not come.
const PATIENCE: (u64, u64) = (500, 10_000);

/// The broker of one process.
pub struct Bus(pub Arc<Process>);

impl Bus {
    /// One operation. When it is not known whether it has had its effect, it may have had it.
    async fn operation<T>(
        &self,
        what: &(dyn Fn() -> String + Sync),
        effect: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let Process { net, name, chance, .. } = &*self.0;
        let number = self.0.begin().await;
        let lost = |what: &str| Err(Fault::Unavailable(format!("simulated: {what}")));
        if net.is_down() {
            sleep(chance.span(10, 300)).await;
            self.0.gate().await;
            return lost("the server is away");
        }
        if net.faulty() && chance.hits(net.settings.losses) {
            net.note(name, || format!("{}: the request is lost", what()));
            sleep(chance.span(PATIENCE.0, PATIENCE.1)).await;
            self.0.gate().await;
            return lost("the request is lost");
        }
        let outcome = effect.await;
        net.note(name, || match &outcome {
            Ok(_) => what(),
            Err(fault) => format!("{}: {fault}", what()),
        });
        self.0.end(number).await;
        if net.faulty() && chance.hits(net.settings.losses) {
            net.note(name, || format!("{}: the answer is lost", what()));
            sleep(chance.span(PATIENCE.0, PATIENCE.1)).await;
            self.0.gate().await;
            return lost("the answer is lost");
        }
        outcome
    }

    /// Stores, after the rule that is switched off has had its say, and is watched.
    async fn store(&self, stream: &str, mut writes: Vec<Write>) -> Result<u64, Fault> {
        let Process { net, name, .. } = &*self.0;
        if let Some(sabotage) = net.sabotage {
            sabotage.writes(name, stream, &mut writes);
            if writes.is_empty() {
                return Ok(0);
            }
        }
        let place = net.broker.commit(stream, writes.clone()).await?;
        net.monitor.stored(net, name, stream, &writes);
        Ok(place)
    }

    fn read(&self, stream: &str, entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
        let Process { net, name, .. } = &*self.0;
        let seen = |entry| match net.sabotage {
            Some(sabotage) => sabotage.entry(name, stream, entry),
            None => Some(entry),
        };
        entries.into_iter().filter_map(seen).collect()
    }
}

fn subjects(writes: &[Write]) -> String {
    let mut out = String::new();
    for write in writes.iter().take(12) {
        out.push(' ');
        out.push_str(write.subject.strip_prefix("$KV.").unwrap_or(&write.subject));
    }
    if writes.len() > 12 {
        out.push_str(&format!(" and {} more", writes.len() - 12));
    }
    out
}

#[async_trait]
impl Broker for Bus {
    fn max_batch(&self) -> usize {
        self.0.net.settings.max_batch
    }

    async fn commit(&self, stream: &str, writes: Vec<Write>) -> Result<u64, Fault> {
        let what = || format!("commit{}", subjects(&writes));
        self.operation(&what, self.store(stream, writes.clone())).await
    }

    async fn publish(&self, stream: &str, writes: Vec<Write>) -> Result<(), Fault> {
        let stored = |outcome| match outcome {
            Ok(_) | Err(Fault::Exists) => Ok(()),
            Err(fault) => Err(fault),
        };
        // Few are stored one by one: some may be stored when others are not.
        let size = if writes.len() <= 16 { 1 } else { self.max_batch().max(2) };
        let mut outcome = Ok(());
        for part in writes.chunks(size) {
            let what = || format!("publish{}", subjects(part));
            outcome = outcome.and(stored(self.operation(&what, self.store(stream, part.to_vec())).await));
        }
        outcome
    }

    async fn get(&self, stream: &str, subject: &str) -> Result<Option<Entry>, Fault> {
        let Process { net, name, .. } = &*self.0;
        let effect = async {
            let found = net.broker.get(stream, subject).await?;
            net.monitor.read(name, subject, found.as_ref());
            Ok(self.read(stream, found).pop())
        };
        self.operation(&|| format!("get {subject}"), effect).await
    }

    async fn get_many(&self, stream: &str, subjects: &[String]) -> Result<Vec<Entry>, Fault> {
        let effect = async { Ok(self.read(stream, self.0.net.broker.get_many(stream, subjects).await?)) };
        self.operation(&|| format!("get {} of {stream}", subjects.len()), effect).await
    }

    async fn list(&self, stream: &str, filter: &str) -> Result<Vec<String>, Fault> {
        self.operation(&|| format!("list {filter}"), self.0.net.broker.list(stream, filter)).await
    }

    async fn scan(&self, stream: &str, filter: &str) -> Result<BoxStream<'static, Result<Entry, Fault>>, Fault> {
        self.operation(&|| format!("scan {filter}"), self.0.net.broker.scan(stream, filter)).await
    }

    async fn purge(&self, stream: &str, subject: &str) -> Result<(), Fault> {
        self.operation(&|| format!("purge {subject}"), self.0.net.broker.purge(stream, subject)).await
    }

    async fn subscribe(&self, stream: &str, consumer: &str, prefetch: usize) -> Result<Box<dyn Deliveries>, Fault> {
        let effect = self.0.net.broker.subscribe(stream, consumer, prefetch);
        let reader = self.operation(&|| format!("subscribe {stream}/{consumer}"), effect).await?;
        Ok(Box::new(Reader { process: self.0.clone(), reader }))
    }

    async fn acked_upto(&self, stream: &str, consumer: &str) -> Result<u64, Fault> {
        self.operation(&|| format!("ack floor of {consumer}"), self.0.net.broker.acked_upto(stream, consumer)).await
    }
}

struct Reader {
    process: Arc<Process>,
    reader: Box<dyn Deliveries>,
}

#[async_trait]
impl Deliveries for Reader {
    async fn next(&mut self, max: usize) -> Result<Option<Vec<Delivery>>, Fault> {
        let process = &self.process;
        let pulled = loop {
            process.gate().await;
            if process.net.is_down() {
                sleep(process.chance.span(10, 300)).await;
                return Err(Fault::Unavailable("simulated: the server is away".into()));
            }
            tokio::select! {
                biased;
                () = process.halted() => {}
                pulled = self.reader.next(max) => break pulled,
            }
        };
        // What was pulled is this process's, and takes a while to arrive; meanwhile its time to redelivery runs.
        let pulled = pulled?.unwrap_or_default();
        let deliveries = pulled.into_iter().map(|delivery| {
            let Delivery { subject, headers, body, place, at, delivery, settle } = delivery;
            process.net.note(&process.name, || format!("takes {subject} ({delivery})"));
            let settle = Box::new(Settling { process: process.clone(), subject: subject.clone(), settle });
            Delivery { subject, headers, body, place, at, delivery, settle }
        });
        Ok(Some(deliveries.collect()))
    }

    async fn close(self: Box<Self>) {
        self.process.gate().await;
        self.reader.close().await;
    }
}

struct Settling {
    process: Arc<Process>,
    subject: String,
    settle: Box<dyn Settle>,
}

impl Settling {
    /// Whether what is said arrives: it is sent, and not answered.
    async fn arrives(&self, what: &str) -> bool {
        let Process { net, name, chance, .. } = &*self.process;
        self.process.begin().await;
        let lost = net.is_down() || (net.faulty() && chance.hits(net.settings.losses));
        net.note(name, || format!("{what} {}{}", self.subject, if lost { ": it is lost" } else { "" }));
        !lost
    }
}

#[async_trait]
impl Settle for Settling {
    async fn ack(&self) -> Result<(), Fault> {
        if self.arrives("ack").await { self.settle.ack().await } else { Ok(()) }
    }

    async fn nak(&self, delay: Duration) -> Result<(), Fault> {
        if self.arrives("nak").await { self.settle.nak(delay).await } else { Ok(()) }
    }

    async fn progress(&self) -> Result<(), Fault> {
        if self.arrives("progress").await { self.settle.progress().await } else { Ok(()) }
    }
}
