//! Brings a package to where it can be started: fetched, checked, placed.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::path::Path;

use muster_core::message::Outcome;
use muster_core::package::{Package, Upgrade, platform};
use muster_core::version::compare;
use tokio::task::spawn_blocking;

use super::places::Places;
use super::{Source, download};
use crate::rules::outcome::{INVALID, NOT_APPLIED, outcome};
use crate::signature::Keys;

/// What is to happen about an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This version runs already.
    Same,
    /// The package is to be fetched and run.
    Wanted,
}

/// Judges an upgrade of an agent with this version on this system.
///
/// # Errors
/// Why it is refused.
pub fn judge(upgrade: &Upgrade, running: &str) -> Result<Verdict, Outcome> {
    let Upgrade { package, force } = upgrade;
    let (wanted, here) = (package.platform(), platform(std::env::consts::OS, std::env::consts::ARCH));
    if wanted != here {
        return Err(outcome(NOT_APPLIED, format!("the package is for {wanted}, and this is {here}")));
    }
    match compare(&package.version, running) {
        Ordering::Equal => Ok(Verdict::Same),
        Ordering::Less if !force => {
            let why = format!("version {} is older than {running}, which runs, and was not forced", package.version);
            Err(outcome(NOT_APPLIED, why))
        }
        _ => Ok(Verdict::Wanted),
    }
}

/// The upgrade that a lane's body says.
///
/// # Errors
/// When it is none.
pub fn read(body: &str) -> Result<Upgrade, Outcome> {
    serde_json::from_str(body).map_err(|error| outcome(INVALID, format!("the body is no upgrade: {error}")))
}

/// Fetches a package, checks it, and makes it the program of its version; what is there already is checked again.
///
/// # Errors
/// Why it is not taken; then it is on disk no longer.
pub async fn stage(places: &Places, keys: Keys, package: &Package, source: &dyn Source) -> Result<(), Outcome> {
    let failed = |error: io::Error| outcome(NOT_APPLIED, format!("the package cannot be written: {error}"));
    places.keep_part(&package.sha256);
    if check(&places.program(&package.version), package, &keys).await.is_ok() {
        return Ok(());
    }
    let part = places.part(&package.sha256);
    loop {
        let resumed = download(source, package, &part).await.map_err(failed)?;
        match check(&part, package, &keys).await {
            Ok(()) => break,
            Err(why) => {
                tokio::fs::remove_file(&part).await.map_err(failed)?;
                if !resumed {
                    return Err(outcome(NOT_APPLIED, format!("the package {} is refused: {why}", package.name)));
                }
                // What an earlier process has left may not be what it wrote: a loss of power sees to that.
                tracing::warn!(package = package.name, why, "the package is fetched again from its start");
            }
        }
    }
    places.place(&part, &package.version).map_err(failed)
}

async fn check(file: &Path, package: &Package, keys: &Keys) -> Result<(), String> {
    let (file, package, keys) = (file.to_owned(), package.clone(), keys.clone());
    let checking = spawn_blocking(move || {
        let file = File::open(file).map_err(|error| error.to_string())?;
        keys.check(&package, file)
    });
    checking.await.map_err(|error| error.to_string())?
}
