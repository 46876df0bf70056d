//! A server with the topology, tasks as functions leave them, and copies of the collector.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use muster_broker::nats::NatsBroker;
use muster_broker::{Bus, MAX_BATCH, SystemClock, Write, encode, kv, topology};
use muster_core::chain::{Frozen, Page, Paged, Stored, key};
use muster_core::fact::{Fact, StoredResult};
use muster_core::instant::Instant;
use muster_core::message::{Outcome, ReportStatus};
use muster_core::numbers::Numbers;
use muster_core::record::agent_id;
use muster_core::stamp::Stamp;
use muster_core::status::{Mark, State};
use muster_core::summary::Summary;
use muster_runtime::steps::{Context, fact};
use muster_testkit::{NatsServer, PATIENCE, eventually};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Rig {
    server: NatsServer,
    context: Context,
}

/// A running copy of the collector, with a connection of its own.
pub struct Copy {
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Copy {
    pub fn kill(self) {
        self.running.abort();
    }

    pub async fn finish(self) {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// A message of RESULTS: subject and payload.
pub type Told = (String, Vec<u8>);

pub fn result(task: &str, number: u32, status: ReportStatus) -> Told {
    let kind = if status == ReportStatus::InProgress { "starts" } else { "results" };
    let stored = StoredResult { number, status, result: Outcome::default() };
    (format!("{kind}.{task}.{}", agent_id(number)), serde_json::to_vec(&stored).unwrap())
}

pub fn start(task: &str, number: u32) -> Told {
    result(task, number, ReportStatus::InProgress)
}

/// The same in some other order.
pub fn shuffled<T>(mut list: Vec<T>) -> Vec<T> {
    let mut seed = 1u64;
    for i in (1..list.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        list.swap(i, (seed >> 33) as usize % (i + 1));
    }
    list
}

impl Rig {
    pub async fn start() -> Self {
        muster_runtime::log();
        let server = NatsServer::start().await.unwrap();
        let client = server.control().await.unwrap();
        topology::provision(&client, 1, false).await.unwrap();
        let context = Context { bus: Arc::new(NatsBroker::new(client)), clock: Arc::new(SystemClock) };
        Self { server, context }
    }

    pub async fn collector(&self) -> Copy {
        let shutdown = CancellationToken::new();
        let (stop, client) = (shutdown.clone(), self.server.control().await.unwrap());
        let context = Context { bus: Arc::new(NatsBroker::new(client)), clock: Arc::new(SystemClock) };
        let running = tokio::spawn(muster_result_collector::collect(context, stop, || {}));
        Copy { shutdown, running }
    }

    /// Lets all copies work at once, and has what a killed one held delivered again after two seconds.
    pub async fn side_by_side(&self) {
        let client = self.server.control().await.unwrap();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../nats/consumers/RESULTS/result-collector.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let fields = config.as_object_mut().unwrap();
        fields.retain(|name, _| !name.starts_with("priority"));
        fields.insert("ack_wait".into(), json!(2_000_000_000u64));
        let api = async |what: &str, body: Value| {
            let subject = format!("$JS.API.CONSUMER.{what}.RESULTS.result-collector");
            let answer = client.request(subject, body.to_string().into()).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
            assert!(answer["error"].is_null(), "{answer}");
        };
        api("DELETE", json!({})).await;
        api("CREATE", json!({ "stream_name": "RESULTS", "config": config })).await;
    }

    fn bus(&self) -> &Bus {
        &self.context.bus
    }

    pub async fn put(&self, bucket: &str, key: &str, value: impl Into<Vec<u8>>) {
        self.bus().commit(&kv::stream(bucket), vec![Write::put(bucket, key, value.into(), 0)]).await.unwrap();
    }

    /// Admits a task with this timeout, which expires after `life` seconds.
    pub async fn admit(&self, task: &str, timeout: i64, life: i64) {
        let now = self.context.clock.now();
        let rejected = Summary::rejected(task.into(), "group-assignment", Stamp::new(0, 1), String::new(), now, vec![]);
        let deliver_until = Instant(now.0 + life * 1000);
        let summary = Summary {
            state: State::Pending,
            recipients: None,
            ended: None,
            timeout: timeout as u64,
            deliver_until,
            ..rejected
        };
        self.put("tasks", task, encode(&summary).unwrap()).await;
    }

    pub async fn freeze(&self, task: &str, recipients: &[u32]) {
        let parts = recipients.iter().copied().collect::<Numbers>().split();
        let containers = parts.iter().map(|(c, _)| *c).collect();
        for (container, part) in parts {
            self.put("agents", &key::container(task, container), part.encode()).await;
        }
        let head = Stored::new(1, Frozen::Recipients { count: recipients.len() as u64, containers });
        self.put("agents", &key::recipients(task), encode(&head).unwrap()).await;
        self.fact(task, &Fact::Frozen).await;
    }

    pub async fn page(&self, task: &str, n: u32, commanded: &[u32]) {
        let page = Page { commanded: commanded.iter().copied().collect(), ..Page::default() };
        self.put("agents", &key::page(task, n), encode(&Stored::new(1, Paged::Page(page))).unwrap()).await;
        self.fact(task, &Fact::Page { n }).await;
    }

    pub async fn fact(&self, task: &str, told: &Fact) {
        fact(&self.context, task, told).await.unwrap();
    }

    pub async fn publish(&self, told: Vec<Told>) {
        let mut batch: Vec<Write> = Vec::new();
        let mut subjects = HashSet::new();
        for (subject, body) in told {
            // A batch has each subject once.
            if !subjects.insert(subject.clone()) || batch.len() == MAX_BATCH {
                self.bus().publish("RESULTS", std::mem::take(&mut batch)).await.unwrap();
                subjects = HashSet::from([subject.clone()]);
            }
            batch.push(Write::new(subject, body));
        }
        self.bus().publish("RESULTS", batch).await.unwrap();
    }

    pub async fn summary(&self, task: &str) -> Option<Summary> {
        let entry = self.bus().get(&kv::stream("tasks"), &kv::subject("tasks", task)).await.unwrap()?;
        Some(serde_json::from_slice(&entry.body?).unwrap())
    }

    /// The summary, once it is as wanted.
    pub async fn until(&self, task: &str, wanted: impl Fn(&Summary) -> bool) -> Summary {
        eventually(&format!("the wanted summary of {task}"), PATIENCE, || async {
            let seen = self.summary(task).await.unwrap();
            assert!(seen.counts.total() <= seen.recipients.unwrap_or(0), "{seen:?}");
            if wanted(&seen) { Ok(seen) } else { Err(seen) }
        })
        .await
    }

    /// The keys that the task has in `sets`, in order.
    pub async fn keys(&self, task: &str) -> Vec<String> {
        let subjects = self.bus().list(&kv::stream("sets"), &kv::subject("sets", &format!("{task}.>"))).await.unwrap();
        subjects.iter().map(|s| kv::key("sets", s).unwrap().to_owned()).collect()
    }

    pub async fn set(&self, task: &str, mark: &Mark) -> Numbers {
        let mut all = Numbers::new();
        for key in self.keys(task).await {
            if Mark::parse(task, &key).unwrap().0 == *mark {
                let entry = self.bus().get(&kv::stream("sets"), &kv::subject("sets", &key)).await.unwrap().unwrap();
                all.union_with(&Numbers::decode(&entry.body.unwrap()).unwrap());
            }
        }
        all
    }

    /// The letters in DEAD, in the order of the messages.
    pub async fn dead(&self) -> Vec<Value> {
        let letters = self.bus().scan("DEAD", "dead.results.*").await.unwrap();
        let mut letters: Vec<_> = letters.map(Result::unwrap).collect().await;
        letters.sort_by_key(|e| e.subject.rsplit('.').next().unwrap().parse::<u64>().unwrap());
        letters.iter().map(|e| serde_json::from_slice(e.body.as_ref().unwrap()).unwrap()).collect()
    }

    /// Waits until every message of RESULTS is acknowledged.
    pub async fn all_acked(&self) {
        let client = self.server.control().await.unwrap();
        eventually("an ack of every message", PATIENCE, || async {
            let info = client.request("$JS.API.CONSUMER.INFO.RESULTS.result-collector", "".into()).await.unwrap();
            let info: Value = serde_json::from_slice(&info.payload).unwrap();
            if info["num_pending"] == 0 && info["num_ack_pending"] == 0 { Ok(()) } else { Err(info) }
        })
        .await;
    }
}
