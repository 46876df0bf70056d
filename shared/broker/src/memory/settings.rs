//! The settings of streams and consumers that are modelled. A setting that is not named here is refused.

use std::time::Duration;

use serde::Deserialize;

/// A file of `nats/streams` or `nats/buckets`; spans in nanoseconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "what changes nothing in memory is named so that it is accepted")]
pub struct StreamSettings {
    pub name: String,
    #[serde(default)]
    description: String,
    pub subjects: Vec<String>,
    storage: String,
    num_replicas: u32,
    #[serde(default)]
    discard: Discard,
    #[serde(default)]
    pub discard_new_per_subject: bool,
    #[serde(default)]
    pub max_msgs_per_subject: usize,
    #[serde(default)]
    pub max_msg_size: usize,
    #[serde(default, deserialize_with = "nanoseconds")]
    pub max_age: Option<Duration>,
    #[serde(default)]
    compression: String,
    #[serde(default)]
    deny_delete: bool,
    #[serde(default)]
    pub allow_msg_ttl: bool,
    #[serde(default)]
    allow_direct: bool,
    #[serde(default)]
    pub allow_atomic: bool,
    #[serde(default)]
    allow_rollup_hdrs: bool,
    #[serde(default)]
    pub allow_msg_schedules: bool,
    max_consumers: u32,
}

/// What happens when a stream is full; no stream of `nats/` has a limit that it could reach.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Discard {
    #[default]
    Old,
    New,
}

/// A file of `nats/consumers`; spans in nanoseconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "what changes nothing in memory is named so that it is accepted")]
pub struct ConsumerSettings {
    pub durable_name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    pub filter_subject: Option<String>,
    deliver_policy: All,
    ack_policy: Explicit,
    #[serde(deserialize_with = "nanoseconds")]
    pub ack_wait: Option<Duration>,
    max_deliver: Unlimited,
    pub max_ack_pending: usize,
    max_waiting: u32,
    replay_policy: Instant,
    #[serde(default)]
    priority_groups: Vec<String>,
    #[serde(default)]
    pub priority_policy: Option<Pinned>,
    #[serde(default, deserialize_with = "nanoseconds")]
    pub priority_timeout: Option<Duration>,
}

/// The only policies that are modelled.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum All {
    All,
}
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Explicit {
    Explicit,
}
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Instant {
    Instant,
}
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "i64")]
struct Unlimited;

impl TryFrom<i64> for Unlimited {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        if number == -1 { Ok(Self) } else { Err(format!("max_deliver {number}")) }
    }
}

/// One reader at a time.
#[derive(Debug, Clone, Copy, Deserialize)]
pub enum Pinned {
    #[serde(rename = "pinned_client")]
    Client,
}

fn nanoseconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    u64::deserialize(from).map(|span| (span > 0).then(|| Duration::from_nanos(span)))
}
