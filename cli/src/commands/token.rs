//! `muster token`: tokens with which new agents enrol.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use muster_broker::nats::NatsBroker;
use muster_broker::{Broker, Entry, Write, decode, kv};
use muster_core::configuration::duration;
use muster_core::instant::Instant;
use muster_core::names::{digest, hex};
use muster_core::token::{self, PREFIX, Token, name_fault};
use serde_json::{Value, json};

use crate::ask::control;
use crate::exit::Exit;
use crate::output::{Output, print, print_json, say, table};

const BUCKET: &str = "agents";
/// At most so many tokens at a time.
const MOST: usize = 1000;
/// The longest life of a token.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// So long an expired token is still listed.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a token with which any number of agents may enrol until it expires, and show it: this once only
    Create {
        /// What to call it
        #[arg(long, value_parser = name)]
        name: Option<String>,
        /// How long it is good, such as 30m, 24h, 7d; at most a year
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = life)]
        expires: Duration,
    },
    /// List the tokens, without what they are
    List,
    /// Let nobody enrol with a token any more; who has enrolled with it stays
    Revoke {
        /// What it is called
        name: String,
    },
}

fn name(text: &str) -> Result<String, String> {
    name_fault(text).map_or_else(|| Ok(text.to_owned()), |why| Err(why.to_owned()))
}

fn life(text: &str) -> Result<Duration, String> {
    let life = duration(text).ok_or_else(|| format!("'{text}' is no duration such as 30m, 24h, 7d"))?;
    let fits = (Duration::from_secs(1)..=LONGEST).contains(&life);
    if fits { Ok(life) } else { Err("a token is good for a second to a year".to_owned()) }
}

pub(crate) async fn token(output: Output, command: Command) -> anyhow::Result<Exit> {
    let broker = NatsBroker::new(control().await?);
    match command {
        Command::Create { name, expires } => {
            let (text, token) = create(&broker, name, expires).await?;
            if output == Output::Json {
                print_json(&json!({ "name": token.name, "token": text, "expires": token.expires }))?;
            } else {
                say(&format!("token {}, good until {}; it is not shown again:", token.name, token.expires));
                print(&text)?;
            }
        }
        Command::List => list(output, &broker).await?,
        Command::Revoke { name } => revoke(&broker, &name).await?,
    }
    Ok(Exit::Done)
}

/// Makes a token: what it is, and what is stored of it.
///
/// # Errors
/// When there is one with this name, there are too many, or it cannot be stored.
pub(crate) async fn create(
    broker: &NatsBroker,
    name: Option<String>,
    life: Duration,
) -> anyhow::Result<(String, Token)> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("this machine has no random numbers")?;
    let text = format!("mt_{}", hex(&random));
    let name = name.unwrap_or_else(|| format!("token-{}", &digest(text.as_bytes())[..8]));
    let now = now();
    let tokens = all(broker).await?;
    ensure!(tokens.len() < MOST, "there are {} tokens already; revoke some", tokens.len());
    for (subject, token) in tokens.iter().filter(|(_, token)| token.name == name) {
        ensure!(!token.is_valid(now), "there is a token '{name}' already; revoke it, or take another name");
        broker.purge(&kv::stream(BUCKET), subject).await?;
    }
    let token = Token { name, created: now, expires: now.plus(life) };
    let write = Write::put(BUCKET, &token::key(&text), serde_json::to_vec(&token)?, 0).ttl(life + REMEMBERED);
    broker.commit(&kv::stream(BUCKET), vec![write]).await.context("the token cannot be stored")?;
    Ok((text, token))
}

/// Whether agents may enrol with it now.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn is_valid(broker: &NatsBroker, text: &str) -> anyhow::Result<bool> {
    let key = token::key(text);
    let entry = broker.get(&kv::stream(BUCKET), &kv::subject(BUCKET, &key)).await?;
    let token = entry.and_then(|e| e.body).map(|body| decode::<Token>(BUCKET, &key, &body)).transpose()?;
    Ok(token.is_some_and(|token| token.is_valid(now())))
}

async fn list(output: Output, broker: &NatsBroker) -> anyhow::Result<()> {
    let mut tokens: Vec<Token> = all(broker).await?.into_iter().map(|(_, token)| token).collect();
    tokens.sort_by_key(|token| token.created);
    let state = |token: &Token| if token.is_valid(now()) { "valid" } else { "expired" };
    if output == Output::Json {
        let all: Vec<Value> = tokens
            .iter()
            .map(|t| json!({ "name": t.name, "created": t.created, "expires": t.expires, "state": state(t) }))
            .collect();
        return print_json(&json!({ "tokens": all }));
    }
    let row = |t: &Token| [t.name.clone(), t.created.to_string(), t.expires.to_string(), state(t).to_owned()];
    print(&table(["name", "created", "expires", "state"], tokens.iter().map(row)))
}

async fn revoke(broker: &NatsBroker, name: &str) -> anyhow::Result<()> {
    let tokens = all(broker).await?;
    let mut found = tokens.iter().filter(|(_, token)| token.name == name).peekable();
    if found.peek().is_none() {
        bail!("there is no token '{name}'; see: muster token list");
    }
    for (subject, _) in found {
        broker.purge(&kv::stream(BUCKET), subject).await?;
    }
    say(&format!("token {name} is revoked"));
    Ok(())
}

/// All tokens, with where they lie.
async fn all(broker: &NatsBroker) -> anyhow::Result<Vec<(String, Token)>> {
    let stream = kv::stream(BUCKET);
    let subjects = broker.list(&stream, &kv::subject(BUCKET, &format!("{PREFIX}*"))).await?;
    let read = |Entry { subject, body, .. }: Entry| {
        Some(decode::<Token>(BUCKET, &subject, &body?).map(|token| (subject, token)).map_err(Into::into))
    };
    broker.get_many(&stream, &subjects).await?.into_iter().filter_map(read).collect()
}

fn now() -> Instant {
    Instant::from_system(SystemTime::now())
}
