//! One stream or consumer on the server.

use async_nats::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::difference::{Config, Difference, compare};
use crate::Fault;
use crate::nats::api::{ApiError, ask, call};

/// A stream, or a consumer of a stream, and the configuration that its file gives it.
pub(super) struct Asset {
    stream: String,
    consumer: Option<String>,
    wanted: Config,
}

/// What became of an asset.
pub(super) enum Outcome {
    /// It stood, and may differ.
    Stood(Vec<Difference>),
    /// It was made.
    Created,
    /// It was changed; what could not be changed safely is left.
    Updated(Vec<Difference>),
}

impl Asset {
    /// The stream of a file. `replicas` takes the place of the file's number; without it the number does not count.
    pub(super) fn stream(file: &str, replicas: Option<usize>) -> Result<Self, Fault> {
        let mut wanted = parse(file)?;
        match replicas {
            Some(replicas) => wanted.insert("num_replicas".into(), replicas.into()),
            None => wanted.remove("num_replicas"),
        };
        Ok(Self { stream: text(&wanted, "name")?, consumer: None, wanted })
    }

    /// The consumer of a file.
    pub(super) fn consumer(stream: &str, file: &str) -> Result<Self, Fault> {
        let wanted = parse(file)?;
        Ok(Self { stream: stream.to_owned(), consumer: Some(text(&wanted, "durable_name")?), wanted })
    }

    /// Such as `stream TASKS` or `consumer TASKS/task-manager`.
    pub(super) fn name(&self) -> String {
        match &self.consumer {
            None => format!("stream {}", self.stream),
            Some(consumer) => format!("consumer {}/{consumer}", self.stream),
        }
    }

    /// What of it is not as the file says.
    pub(super) async fn verify(&self, client: &Client) -> Result<Vec<Difference>, Fault> {
        Ok(match self.read(client).await? {
            None => vec![Difference::Missing { asset: self.name() }],
            Some(stands) => compare(&self.name(), &stands, &self.wanted),
        })
    }

    /// Creates it where it is missing; with `apply`, changes what can be changed without losing data.
    pub(super) async fn provision(&self, client: &Client, apply: bool) -> Result<Outcome, Fault> {
        let Some(stands) = self.read(client).await? else {
            self.create(client).await?;
            return Ok(Outcome::Created);
        };
        let differences = compare(&self.name(), &stands, &self.wanted);
        let mut config = stands;
        let mut left = Vec::new();
        let mut changed = false;
        for difference in differences {
            match difference {
                Difference::Field { field, wanted, safe: true, .. } if apply => {
                    changed = true;
                    match wanted {
                        Value::Null => config.remove(&field),
                        wanted => config.insert(field, wanted),
                    };
                }
                other => left.push(other),
            }
        }
        if !changed {
            return Ok(Outcome::Stood(left));
        }
        self.update(client, config).await?;
        Ok(Outcome::Updated(left))
    }

    /// The configuration that stands.
    async fn read(&self, client: &Client) -> Result<Option<Config>, Fault> {
        #[derive(Deserialize)]
        struct Info {
            config: Config,
        }
        let subject = match &self.consumer {
            None => format!("STREAM.INFO.{}", self.stream),
            Some(consumer) => format!("CONSUMER.INFO.{}.{consumer}", self.stream),
        };
        match ask::<Info>(client, &subject, &json!({})).await? {
            Ok(info) => Ok(Some(info.config)),
            Err(error) if [ApiError::NO_STREAM, ApiError::NO_CONSUMER].contains(&error.err_code) => Ok(None),
            Err(error) => Err(error.fault()),
        }
    }

    /// The raw file goes to the server, which refuses unknown fields. With the same configuration it is no error that
    /// another process was first.
    async fn create(&self, client: &Client) -> Result<(), Fault> {
        self.send(client, "STREAM.CREATE", "create", self.wanted.clone()).await
    }

    async fn update(&self, client: &Client, config: Config) -> Result<(), Fault> {
        self.send(client, "STREAM.UPDATE", "update", config).await
    }

    async fn send(&self, client: &Client, verb: &str, action: &str, config: Config) -> Result<(), Fault> {
        let (subject, body) = match &self.consumer {
            None => (format!("{verb}.{}", self.stream), Value::Object(config)),
            Some(consumer) => (
                format!("CONSUMER.CREATE.{}.{consumer}", self.stream),
                json!({ "stream_name": self.stream, "action": action, "config": config }),
            ),
        };
        call::<Value>(client, &subject, &body).await.map(drop).map_err(|fault| match fault {
            Fault::Refused(why) => Fault::Refused(format!("{}: {why}", self.name())),
            other => other,
        })
    }
}

fn parse(file: &str) -> Result<Config, Fault> {
    serde_json::from_str(file).map_err(|e| Fault::Refused(format!("a file of nats/ is not a JSON object: {e}")))
}

fn text(config: &Config, field: &str) -> Result<String, Fault> {
    let text = config.get(field).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| Fault::Refused(format!("a file of nats/ has no {field}")))
}
