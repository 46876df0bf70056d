//! What the end-to-end tests share: a whole system of real processes on a real server, driven from outside.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::{Client, jetstream};
use muster_broker::{Write, kv, nats::NatsBroker, topology};
use muster_core::instant::Instant;
use muster_core::record::{Agent, agent_id};
use muster_core::summary::Summary;
use muster_core::token::{self, Token};
use muster_testkit::{NatsServer, PATIENCE, Process, binary, eventually};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// All that runs beside the server.
pub const COMPONENTS: [&str; 9] = [
    "group-assignment",
    "group-configuration",
    "agent-name",
    "agent-deletion",
    "server-configuration",
    "rbac-change",
    "task-manager",
    "comms-api",
    "result-collector",
];

/// A server and the processes that work on it.
pub struct System {
    /// The server.
    pub server: NatsServer,
    /// A connection as the control user.
    pub client: Client,
    /// The buckets as the product reads them.
    pub bus: NatsBroker,
    /// With which new agents enrol.
    pub token: String,
    /// Variables of the programs that are started from now on.
    pub env: Vec<(String, String)>,
    running: BTreeMap<String, Vec<Process>>,
}

impl System {
    /// A provisioned server with nothing running. Messages are redelivered after two seconds instead of thirty, so
    /// that a killed copy's work is taken over soon.
    ///
    /// # Errors
    /// When the server does not start.
    pub async fn empty() -> Result<Self> {
        Self::on(NatsServer::start().await?).await
    }

    /// The same on this server.
    ///
    /// # Errors
    /// When it cannot be provisioned.
    pub async fn on(server: NatsServer) -> Result<Self> {
        let client = server.control().await?;
        let report = topology::provision(&client, 1, false).await?;
        ensure!(report.is_in_place(), "not provisioned: {:?}", report.differences);
        for (stream, consumer) in [
            ("TASKS", "group-assignment"),
            ("TASKS", "group-configuration"),
            ("TASKS", "agent-name"),
            ("TASKS", "agent-deletion"),
            ("TASKS", "server-configuration"),
            ("TASKS", "rbac-change"),
            ("TASKS", "agent-package"),
            ("TASKS", "agent-upgrade"),
            ("TASKS", "ruleset-update"),
            ("TASKS", "active-response-configuration"),
            ("TASKS", "active-response-execution"),
            ("TASKS", "cve-content"),
            ("TASKS", "vulnerability-rescan"),
            ("TASKS", "sca-content"),
            ("TASKS", "sca-policy"),
            ("TASKS", "task-manager"),
            ("COMMANDS", "comms-api"),
            ("RUNS", "comms-api"),
            ("RESULTS", "result-collector"),
        ] {
            redeliver_after(&client, stream, consumer, Duration::from_secs(2)).await?;
        }
        let bus = NatsBroker::new(client.clone());
        let token = "the-token-of-the-tests".to_owned();
        put_token(&bus, &token, Duration::from_secs(3600)).await?;
        Ok(Self { server, client, bus, token, env: Vec::new(), running: BTreeMap::new() })
    }

    /// A provisioned server with one process of each component.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start() -> Result<Self> {
        let mut system = Self::empty().await?;
        for component in COMPONENTS {
            system.run(component, &[])?;
        }
        Ok(system)
    }

    /// Starts one more copy of a component.
    ///
    /// # Errors
    /// When the program is not built.
    pub fn run(&mut self, component: &str, env: &[(&str, &str)]) -> Result<()> {
        let mut command = self.muster()?;
        command.args(["run", component]).envs(env.iter().copied());
        self.running.entry(component.to_owned()).or_default().push(Process::start(command)?);
        Ok(())
    }

    /// The `muster` program, pointed at this server.
    ///
    /// # Errors
    /// When it is not built.
    pub fn muster(&self) -> Result<Command> {
        let mut command = binary("muster")?;
        command.env("NATS_URL", self.server.url()).env("RUST_LOG", "info,async_nats=warn");
        command.env("MUSTER_SYNC_INTERVAL", "2").env("MUSTER_KEYS", self.server.keys().directory());
        command.envs(self.env.iter().cloned());
        Ok(command)
    }

    /// A real agent with its root directory; it enrols under this name.
    ///
    /// # Errors
    /// When the program is not built.
    pub fn agent(&self, root: &std::path::Path, name: &str) -> Result<Process> {
        let mut command = binary("muster-agent")?;
        command.env("NATS_URL", self.server.url()).env("MUSTER_TOKEN", &self.token);
        command.envs(self.env.iter().cloned()).arg("--root").arg(root).args(["--name", name]);
        Process::start(command)
    }

    /// The id of an agent, once it is enrolled under this name.
    pub async fn enrolled(&self, name: &str) -> String {
        eventually(&format!("the enrolment of {name}"), PATIENCE, || async {
            let answer = self.ask("agent.list", &json!({ "query": format!("name = {name}") })).await.ok()?;
            answer["agents"][0]["id"].as_str().map(str::to_owned)
        })
        .await
    }

    /// Starts a server node with its directory, which trusts this key of packages if one is given.
    ///
    /// # Errors
    /// When the program is not built.
    pub fn node(&mut self, name: &str, directory: &std::path::Path, key: &str) -> Result<()> {
        let directory = directory.to_str().context("a path")?;
        let env = [
            ("MUSTER_NODE_NAME", name),
            ("MUSTER_NODE_DIR", directory),
            ("MUSTER_PACKAGE_KEYS", key),
            ("RUST_LOG", "info"),
        ];
        self.run("server", &env)
    }

    /// Waits until there are so many server nodes.
    pub async fn nodes(&self, count: u64) {
        eventually(&format!("{count} nodes"), PATIENCE, || async {
            let answer = self.ask("node.list", &json!({})).await.map_err(|e| e.to_string())?;
            if answer["total"] == count { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    }

    /// The processes of a component, the oldest first.
    pub fn copies(&mut self, component: &str) -> &mut Vec<Process> {
        self.running.entry(component.to_owned()).or_default()
    }

    /// What a copy of a component has written to its log.
    pub fn log(&self, component: &str, copy: usize) -> String {
        self.running.get(component).and_then(|copies| copies.get(copy)).map(Process::log).unwrap_or_default()
    }

    /// Kills all copies of a component (SIGKILL).
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self, component: &str) -> Result<()> {
        for mut process in self.running.remove(component).unwrap_or_default() {
            process.kill()?;
        }
        Ok(())
    }

    /// Publishes a task as `nats pub -J tasks.<type>` does, and gives the id under which it goes on.
    ///
    /// # Errors
    /// When the server does not store it.
    pub async fn publish(&self, kind: &str, task: &Value) -> Result<String> {
        self.publish_raw(kind, task.to_string().into_bytes(), task["id"].as_str()).await
    }

    /// Publishes bytes as a task.
    ///
    /// # Errors
    /// When the server does not store them.
    pub async fn publish_raw(&self, kind: &str, body: Vec<u8>, id: Option<&str>) -> Result<String> {
        let stored = jetstream::new(self.client.clone()).publish(format!("tasks.{kind}"), body.into()).await?.await?;
        Ok(id.map_or_else(|| format!("t0-{}", stored.sequence), str::to_owned))
    }

    /// Publishes a task and waits for its end.
    ///
    /// # Errors
    /// When the server does not store it.
    pub async fn done(&self, kind: &str, task: &Value) -> Result<Summary> {
        let id = self.publish(kind, task).await?;
        Ok(self.ended(&id).await)
    }

    /// The end of a task whose function is killed at a write, as `MUSTER_CRASH` says it; an unharmed copy finishes the task.
    ///
    /// # Errors
    /// When it is not killed there, or a program does not start.
    pub async fn killed(&mut self, function: &str, how: &str, task: &Value) -> Result<Summary> {
        self.kill(function)?;
        self.run(function, &[("MUSTER_CRASH", how)])?;
        let id = self.publish(function, task).await?;
        let status = self.copies(function)[0].wait_exit(PATIENCE).await?;
        ensure!(!status.success(), "{function}: {how}: it was to be killed");
        self.run(function, &[])?;
        Ok(self.ended(&id).await)
    }

    /// Asks an endpoint and gives its answer, with the errors of a refusal.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn ask(&self, subject: &str, body: &Value) -> Result<Value> {
        let answer = self.client.request(subject.to_owned(), body.to_string().into()).await;
        Ok(serde_json::from_slice(&answer.with_context(|| subject.to_owned())?.payload)?)
    }

    /// The value of a key; none when it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read<T: DeserializeOwned>(&self, bucket: &str, key: &str) -> Result<Option<T>> {
        use muster_broker::Broker as _;
        let entry = self.bus.get(&kv::stream(bucket), &kv::subject(bucket, key)).await?;
        Ok(entry.and_then(|e| e.body).map(|body| serde_json::from_slice(&body)).transpose()?)
    }

    /// What a recipient has reported for a task.
    ///
    /// # Errors
    /// When nothing is stored.
    pub async fn result(&self, task: &str, recipient: &str) -> Result<Value> {
        use muster_broker::Broker as _;
        let stored = self.bus.get("RESULTS", &format!("results.{task}.{recipient}")).await?;
        let body = stored.and_then(|entry| entry.body).context("no result")?;
        Ok(serde_json::from_slice::<Value>(&body)?["result"].take())
    }

    /// The record of an agent.
    ///
    /// # Errors
    /// When there is none.
    pub async fn record(&self, number: u32) -> Result<Agent> {
        self.read("agents", &format!("id.{}", agent_id(number))).await?.with_context(|| format!("no agent {number}"))
    }

    /// The records of all agents, by their numbers.
    ///
    /// # Errors
    /// When one cannot be read.
    pub async fn records(&self) -> Result<Vec<Agent>> {
        use muster_broker::Broker as _;
        let subjects = self.bus.list("KV_agents", &kv::subject("agents", "id.*")).await?;
        let entries = self.bus.get_many("KV_agents", &subjects).await?;
        let bodies = entries.into_iter().filter_map(|entry| entry.body);
        let mut records: Vec<Agent> = bodies.map(|body| serde_json::from_slice(&body)).collect::<Result<_, _>>()?;
        records.sort_by_key(|agent| agent.number);
        Ok(records)
    }

    /// Starts virtual agents and waits until they are enrolled.
    ///
    /// # Errors
    /// When the program is not built.
    pub async fn fleet(&self, count: u32) -> Result<Process> {
        let mut command = self.muster()?;
        command.args(["fleet", "--count", &count.to_string(), "--prefix", "v"]);
        let fleet = Process::start(command)?;
        eventually("the fleet's enrolment", PATIENCE, || async {
            let question = json!({ "limit": 1, "query": "name ~ v-*" });
            let answer = self.ask("agent.list", &question).await.map_err(|e| e.to_string())?;
            if answer["total"] == count { Ok(()) } else { Err(answer["total"].to_string()) }
        })
        .await;
        Ok(fleet)
    }

    /// Waits for the task's end.
    pub async fn ended(&self, task: &str) -> Summary {
        self.summary(task, "the end", |s| s.state.is_end()).await
    }

    /// Waits until the summary is as wanted.
    pub async fn summary(&self, task: &str, what: &str, wanted: impl Fn(&Summary) -> bool) -> Summary {
        eventually(&format!("{what} of task {task}"), PATIENCE, || async {
            match self.read::<Summary>("tasks", task).await {
                Ok(Some(summary)) if wanted(&summary) => Ok(summary),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// Makes a group with a configuration and waits until it is there.
    ///
    /// # Errors
    /// When the task cannot be published.
    pub async fn make_group(&self, group: &str, content: &str) -> Result<Summary> {
        let task =
            json!({ "target": { "type": "group", "id": group }, "args": { "content": content, "create": true } });
        let id = self.publish("group-configuration", &task).await?;
        Ok(self.ended(&id).await)
    }
}

/// Lets agents enrol with a token, for so long.
///
/// # Errors
/// When it cannot be stored.
pub async fn put_token(bus: &NatsBroker, text: &str, life: Duration) -> Result<()> {
    use muster_broker::Broker as _;
    let now = Instant::from_system(std::time::SystemTime::now());
    let token = Token { name: text.to_owned(), created: now, expires: now.plus(life) };
    let write = Write::new(kv::subject("agents", &token::key(text)), serde_json::to_vec(&token)?);
    Ok(bus.publish("KV_agents", vec![write]).await?)
}

/// Sets how soon a consumer's unacknowledged messages come again.
///
/// # Errors
/// When the consumer is not there.
pub async fn redeliver_after(client: &Client, stream: &str, consumer: &str, wait: Duration) -> Result<()> {
    let info = client.request(format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}"), "".into()).await?;
    let mut info: Value = serde_json::from_slice(&info.payload)?;
    info["config"]["ack_wait"] = json!(u64::try_from(wait.as_nanos())?);
    let create = json!({ "stream_name": stream, "config": info["config"], "action": "update" });
    let filter = info["config"]["filter_subject"].as_str().map_or(String::new(), |f| format!(".{f}"));
    let subject = format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}{filter}");
    let answer = client.request(subject, create.to_string().into()).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    ensure!(answer["error"].is_null(), "{stream}/{consumer}: {}", answer["error"]);
    Ok(())
}

/// The codes and pointers of a task's errors.
pub fn codes(summary: &Summary) -> Vec<(&str, &str)> {
    summary.errors.iter().map(|problem| (problem.code.as_str(), problem.pointer.as_str())).collect()
}
