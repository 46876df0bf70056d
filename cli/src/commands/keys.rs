//! `muster keys`: the keys of a NATS server that is not started by `muster up`.

use std::path::PathBuf;

use clap::Args;
use muster_keys::{Door, Keys as Made};

use crate::exit::Exit;
use crate::output::{print, say};

/// Where the keys lie, and who is let in.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    /// The directory of the keys; those that are missing are made
    #[arg(long, env = "MUSTER_KEYS", default_value = "./.muster/keys")]
    dir: PathBuf,
    /// Take somebody without credentials as the control user, and let virtual fleets in: on loopback only
    #[arg(long)]
    open: bool,
}

/// Makes the keys that are missing, and writes the variables that nats/server.conf asks for.
pub(crate) fn keys(keys: &Keys) -> anyhow::Result<Exit> {
    let made = Made::make(&keys.dir)?;
    let variables = made.server_variables(if keys.open { Door::Open } else { Door::Closed })?;
    let lines = variables.iter().map(|(name, value)| format!("export {name}='{value}'"));
    print(&lines.collect::<Vec<_>>().join("\n"))?;
    let control = made.directory().join("control.seed");
    say(&format!("whoever controls this server sets NATS_NKEY={}", control.display()));
    Ok(Exit::Done)
}
