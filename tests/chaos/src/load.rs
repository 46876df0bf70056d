//! What is asked for while processes are hit: a mix of tasks, one after another and overlapping.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use async_nats::{Client, jetstream};
use fastrand::Rng;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::names::{GROUPS, REAL, RESPONSE, SCRATCH, response, short};
use crate::timeline::Timeline;

/// How long a publish, or a cancel, is tried again.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a round's load has to work with.
pub(crate) struct Load {
    pub dice: Rng,
    pub client: Client,
    pub timeline: Timeline,
    pub round: u32,
    /// The numbers of agents that may be hit by anything.
    pub numbers: Vec<u32>,
    pub real: Vec<u32>,
}

/// What was published.
#[derive(Default)]
pub(crate) struct Published {
    /// The ids, in order, with their types.
    pub tasks: Vec<(String, &'static str)>,
    /// How many pages those had whose cancel was confirmed.
    pub cancelled: BTreeMap<String, usize>,
}

/// Publishes a task until the server says that it is stored.
pub(crate) async fn publish(client: &Client, kind: &str, task: &Value) -> Result<()> {
    let (stream, deadline) = (jetstream::new(client.clone()), Instant::now() + PATIENCE);
    while Instant::now() < deadline {
        let sent = stream.publish(format!("tasks.{kind}"), task.to_string().into()).await;
        if let Ok(stored) = sent
            && timeout(Duration::from_secs(3), stored).await.is_ok_and(|stored| stored.is_ok())
        {
            return Ok(());
        }
        sleep(Duration::from_millis(200)).await;
    }
    bail!("{kind} could not be published")
}

impl Load {
    /// Publishes `count` tasks within `span`.
    pub async fn run(mut self, count: usize, span: Duration) -> Result<Published> {
        let mut published = Published::default();
        let mut bodies: Vec<Value> = Vec::new();
        for n in 0..count {
            let mean = span.as_secs_f64() / count as f64;
            sleep(Duration::from_secs_f64(mean * 2.0 * self.dice.f64())).await;
            let (kind, mut task) = match bodies.len() {
                // Some task of this round once more, for those who failed.
                at @ 3.. if self.dice.f64() < 0.08 => {
                    let of = self.dice.usize(..at);
                    let mut task = bodies[of].clone();
                    task["retry"] = json!({ "of": task["id"], "status": ["failure", "cancelled", "superseded"] });
                    (published.tasks[of].1, task)
                }
                _ => self.task(n),
            };
            let id = format!("r{}-{n}-{}", self.round, short(kind));
            task["id"] = json!(id);
            if kind == "active-response-execution" {
                task["args"]["alert"] = json!({ "data": { "run": id } });
            }
            publish(&self.client, kind, &task).await?;
            self.timeline.say(format!("published {id}: {}", brief(&task)));
            published.tasks.push((id.clone(), kind));
            if task["retry"].is_null() {
                bodies.push(task);
            } else {
                bodies.push(json!({ "id": id, "target": task["target"], "args": task["args"] }));
            }
            if self.dice.f64() < 0.12 {
                sleep(Duration::from_millis(self.dice.u64(0..600))).await;
                if let Some(pages) = self.cancel(&id).await? {
                    published.cancelled.insert(id, pages);
                }
            }
        }
        Ok(published)
    }

    /// Asks for a task's end until that is confirmed; gives the number of its pages then, or none when the task had
    /// ended before.
    async fn cancel(&self, id: &str) -> Result<Option<usize>> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let question = json!({ "id": id, "reason": "chaos" }).to_string();
            let answer = self.client.request("task.cancel", question.into()).await;
            let answer: Value = match answer {
                Ok(answer) => serde_json::from_slice(&answer.payload)?,
                Err(_) => {
                    sleep(Duration::from_millis(300)).await;
                    continue;
                }
            };
            if answer["error"].is_null() && answer["errors"].is_null() {
                let pages = pages(&self.client, id).await;
                self.timeline.say(format!("cancelled {id}: {answer}, {pages:?} pages"));
                return Ok(pages.ok());
            }
            // Not admitted yet, or ended.
            let unknown = answer.to_string().contains("unknown");
            if !unknown {
                self.timeline.say(format!("not cancelled {id}: {answer}"));
                return Ok(None);
            }
            sleep(Duration::from_millis(300)).await;
        }
        bail!("the cancel of {id} was never answered")
    }

    fn task(&mut self, n: usize) -> (&'static str, Value) {
        let dice = &mut self.dice;
        let group = GROUPS[dice.usize(..GROUPS.len())];
        let content = |dice: &mut Rng| format!("agent:\n  queue_size: {}\n", dice.u32(1000..100_000));
        match dice.u32(..100) {
            0..25 => ("group-assignment", json!({ "target": self.target(), "args": self.move_to(group) })),
            25..30 => ("group-assignment", json!({ "args": { "operation": "delete-group", "group": SCRATCH } })),
            30..48 => {
                let group = [group, group, REAL, SCRATCH][dice.usize(..4)];
                let args = json!({ "content": content(dice), "create": true });
                ("group-configuration", json!({ "target": { "type": "group", "id": group }, "args": args }))
            }
            48..58 => {
                let taken = dice.f64() < 0.2;
                let name = if taken { "real-1".to_owned() } else { format!("n{}-{n}", self.round) };
                let agent = self.some(1, 1);
                ("agent-name", json!({ "target": { "type": "agent", "id": agent[0] }, "args": { "name": name } }))
            }
            58..80 => {
                let target = match dice.u32(..4) {
                    0 => json!({ "type": "all" }),
                    1 => {
                        json!({ "any": [{ "type": "agent", "id": ids(&self.real) }, { "type": "group", "id": group }] })
                    }
                    _ => json!({ "type": "agent", "id": ids(&self.real) }),
                };
                ("active-response-execution", json!({ "target": target, "args": { "name": RESPONSE, "alert": {} } }))
            }
            80..87 => {
                let group = if dice.bool() { REAL } else { group };
                let args = json!({ "operation": "put", "name": RESPONSE, "content": response(dice.u64(..10)) });
                ("active-response-configuration", json!({ "target": { "type": "group", "id": group }, "args": args }))
            }
            87..94 => ("agent-deletion", json!({ "target": { "type": "agent", "id": self.some(1, 5) }, "args": {} })),
            _ => {
                let level = ["info", "debug", "warn"][dice.usize(..3)];
                ("server-configuration", json!({ "args": { "content": format!("log:\n  level: {level}\n") } }))
            }
        }
    }

    /// Whom to move. The real agents stay in their group, and may be moved beside that.
    fn target(&mut self) -> Value {
        let dice = &mut self.dice;
        match dice.u32(..8) {
            0 => json!({ "type": "all" }),
            1 => json!({ "type": "group", "id": GROUPS[dice.usize(..GROUPS.len())] }),
            2 => json!({ "type": "query", "id": format!("name ~ v-{:02}*", dice.u32(..3)) }),
            3 => {
                json!({ "from": { "type": "all" }, "without": { "type": "group", "id": GROUPS[dice.usize(..GROUPS.len())] } })
            }
            4 => json!({ "type": "query", "id": format!("name ~ v-*{}", dice.u32(..10)) }),
            5 => {
                json!({ "any": [{ "type": "agent", "id": ids(&self.real) }, { "type": "agent", "id": self.some(1, 20) }] })
            }
            _ => json!({ "type": "agent", "id": self.some(1, 200) }),
        }
    }

    fn move_to(&mut self, group: &str) -> Value {
        let dice = &mut self.dice;
        let second = if dice.f64() < 0.2 { SCRATCH } else { GROUPS[dice.usize(..GROUPS.len())] };
        let mut groups = vec![group];
        groups.extend((second != group && dice.bool()).then_some(second));
        let operation = ["assign", "assign", "unassign", "replace"][dice.usize(..4)];
        if operation == "replace" {
            groups.extend(["default", REAL]);
        }
        json!({ "operation": operation, "groups": groups })
    }

    /// The ids of some agents of the fleet.
    fn some(&mut self, least: usize, most: usize) -> Vec<String> {
        let count = self.dice.usize(least..=most).min(self.numbers.len());
        ids(&self.dice.choose_multiple(self.numbers.iter().copied(), count))
    }
}

async fn pages(client: &Client, id: &str) -> Result<usize> {
    let subject = format!("$KV.agents.page.{id}.*");
    let question = json!({ "subjects_filter": subject }).to_string();
    let answer = client.request("$JS.API.STREAM.INFO.KV_agents", question.into()).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    let agents = answer["state"]["subjects"].as_object().map_or(0, serde_json::Map::len);
    Ok(agents)
}

/// The first pages that are stored from now on: the tasks and the numbers of the pages.
pub(crate) async fn next_page(client: &Client, limit: Duration) -> Option<(String, String)> {
    let mut stored = client.subscribe("$KV.agents.page.*.*").await.ok()?;
    let message = timeout(limit, stored.next()).await.ok()??;
    let mut tokens = message.subject.rsplit('.').map(str::to_owned);
    let n = tokens.next()?;
    Some((tokens.next()?, n))
}

fn ids(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|number| format!("{number:03}")).collect()
}

/// The task in few words.
fn brief(task: &Value) -> String {
    let mut task = task.clone();
    if let Some(ids) = task["target"]["id"].as_array().filter(|ids| ids.len() > 6) {
        task["target"]["id"] = json!(format!("{} agents", ids.len()));
    }
    let text = format!("{} {}", task["target"], task["args"]);
    text.chars().take(200).collect()
}
