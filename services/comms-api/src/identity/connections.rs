//! The agents' connections, as the servers list and close them, over a connection to the system account.

use std::time::Duration;

use async_nats::Client;
use async_trait::async_trait;
use futures::StreamExt;
use muster_core::numbers::Numbers;
use muster_core::record::{agent_id, agent_number};
use serde::Deserialize;
use serde_json::{Value, json};

/// Up to so many agents are asked for one by one; beyond, all connections are listed.
const FEW: u64 = 32;
/// So many connections in an answer: the server's own limit.
const PAGE: usize = 1024;
/// After the last answer of a server so long is waited for that of another.
const QUIET: Duration = Duration::from_millis(250);
/// How long the first answer may take.
const FIRST: Duration = Duration::from_secs(2);

/// The agents' connections, on whatever servers they stand.
#[async_trait]
pub trait Connections: Send + Sync {
    /// Closes those of these agents; gives the agents of whom one stood.
    ///
    /// # Errors
    /// When it is not known that none stands.
    async fn close(&self, agents: &Numbers) -> Result<Numbers, String>;
}

#[async_trait]
impl Connections for Client {
    async fn close(&self, agents: &Numbers) -> Result<Numbers, String> {
        let found = of(self, agents).await?;
        for connection in &found {
            close(self, connection).await?;
            tracing::info!(agent = agent_id(connection.agent), "the connection of a deleted agent was closed");
        }
        Ok(found.iter().map(|connection| connection.agent).collect())
    }
}

/// A connection of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Connection {
    server: String,
    cid: u64,
    /// Whose it is.
    agent: u32,
}

#[derive(Deserialize)]
struct Listed {
    server: Server,
    data: Page,
}

#[derive(Deserialize)]
struct Server {
    id: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    connections: Vec<One>,
    #[serde(default)]
    total: usize,
}

#[derive(Deserialize)]
struct One {
    cid: u64,
    #[serde(default)]
    authorized_user: String,
}

/// The connections of these agents on all servers.
///
/// # Errors
/// When no server answers.
async fn of(client: &Client, agents: &Numbers) -> Result<Vec<Connection>, String> {
    let mut found = Vec::new();
    if agents.len() <= FEW {
        for agent in agents.iter() {
            let filter = json!({ "auth": true, "acc": "AGENTS", "user": agent_id(agent) });
            for listed in ask(client, "PING", &filter).await? {
                found.extend(connections(listed));
            }
        }
        found.retain(|connection| agents.contains(connection.agent));
        return Ok(found);
    }
    let page = |offset: usize| json!({ "auth": true, "acc": "AGENTS", "limit": PAGE, "offset": offset });
    for listed in ask(client, "PING", &page(0)).await? {
        let (server, total) = (listed.server.id.clone(), listed.data.total);
        found.extend(connections(listed));
        for offset in (PAGE..total).step_by(PAGE) {
            for listed in ask(client, &server, &page(offset)).await? {
                found.extend(connections(listed));
            }
        }
    }
    found.retain(|connection| agents.contains(connection.agent));
    Ok(found)
}

/// Asks a server, or with `PING` all of them, for a list.
async fn ask(client: &Client, server: &str, filter: &Value) -> Result<Vec<Listed>, String> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|e| e.to_string())?;
    let subject = format!("$SYS.REQ.SERVER.{server}.CONNZ");
    let asked = client.publish_with_reply(subject, inbox, filter.to_string().into()).await;
    asked.map_err(|e| e.to_string())?;
    let mut listed = Vec::new();
    loop {
        let patience = if listed.is_empty() { FIRST } else { QUIET };
        match tokio::time::timeout(patience, answers.next()).await {
            Ok(Some(answer)) => listed.push(serde_json::from_slice(&answer.payload).map_err(|e| e.to_string())?),
            Ok(None) | Err(_) if listed.is_empty() => return Err("no server lists its connections".to_owned()),
            Ok(None) | Err(_) => return Ok(listed),
        }
        // One server was asked, and one has answered.
        if server != "PING" {
            return Ok(listed);
        }
    }
}

fn connections(listed: Listed) -> impl Iterator<Item = Connection> {
    let server = listed.server.id;
    listed.data.connections.into_iter().filter_map(move |one| {
        Some(Connection { server: server.clone(), cid: one.cid, agent: agent_number(&one.authorized_user)? })
    })
}

/// Closes a connection. That it is closed already is as good.
///
/// # Errors
/// When its server does not answer.
async fn close(client: &Client, connection: &Connection) -> Result<(), String> {
    let subject = format!("$SYS.REQ.SERVER.{}.KICK", connection.server);
    let body = json!({ "cid": connection.cid }).to_string();
    client.request(subject, body.into()).await.map(drop).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_agents_connections_are_known_by_its_id() {
        let listed = json!({ "server": { "id": "N1" }, "data": { "total": 3, "connections": [
            { "cid": 5, "authorized_user": "007" }, { "cid": 6, "authorized_user": "UPUSH" }, { "cid": 7 } ] } });
        let found: Vec<Connection> = connections(serde_json::from_value(listed).unwrap()).collect();
        assert_eq!(found, [Connection { server: "N1".into(), cid: 5, agent: 7 }]);
    }
}
