//! The agent's own program: how it is replaced by another version, and comes back when that one is no good.
//!
//! `muster-agent` runs as two processes. The [`supervisor`] is the program that was installed; it starts the agent proper
//! from `bin/<version>/muster-agent` if `bin/current` names a version, else from itself, and does nothing but start,
//! wait, and go back. An agent that is to be upgraded fetches the package ([`download`]), checks it, puts it beside
//! itself ([`stage`]), writes down the [`Switch`], and ends with [`SWITCH`]. The supervisor starts the new one, which
//! proves itself with a hello that is answered; if it ends or is silent, the supervisor goes back to the old one, which
//! reports why. `switch.rs` says what is on disk at each moment, and so what happens after a crash at any of them.
//!
//! The supervisor itself is replaced by installing the program anew.

mod download;
mod gateway;
mod places;
mod stage;
pub mod supervisor;
mod switch;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::path::Path;

use muster_core::message::Outcome;
use muster_core::version::compare;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub use self::download::{Source, download};
pub use self::gateway::Gateway;
pub use self::places::Places;
pub use self::stage::Verdict;
pub use self::switch::{After, Ended, Phase, Program, Switch};

use crate::rules::Single;
use crate::rules::outcome::{NOT_APPLIED, outcome};

/// The exit code of an agent that has staged another version: the supervisor starts that.
pub const SWITCH: u8 = 77;

/// What the ledger is to learn about a change: the lane's state, and the evidence or why it failed.
pub type Settled = (Single, Result<Value, Outcome>);

/// The agent's side of changes of its program.
#[derive(Debug, Clone)]
pub struct Upgrades {
    places: Places,
    version: String,
    staged: CancellationToken,
}

impl Upgrades {
    /// Those of the agent with this directory, which runs this version. A program that is tried must be the version that
    /// its package promised.
    ///
    /// # Errors
    /// When its files cannot be read, or this is another version than the one that is tried.
    pub fn open(root: &Path, version: &str) -> io::Result<Self> {
        let upgrades =
            Self { places: Places::open(root)?, version: version.to_owned(), staged: CancellationToken::new() };
        match upgrades.places.switch()? {
            Some(Switch { phase: Phase::Tried, to, .. }) if compare(&to, version).is_ne() => {
                Err(io::Error::other(format!("the package promised version {to}, and this is {version}")))
            }
            _ => Ok(upgrades),
        }
    }

    /// Cancelled when another version is staged: the agent is to end with [`SWITCH`].
    pub fn staged(&self) -> &CancellationToken {
        &self.staged
    }

    /// The change whose end the ledger may not know yet. After the ledger has it, [`Self::told`] is to be called.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn settled(&self) -> io::Result<Option<Settled>> {
        let Some(switch) = self.places.switch()? else { return Ok(None) };
        match &switch.phase {
            Phase::Proven => {
                self.places.put_in_force(&switch.to)?;
                let evidence = json!({ "version": self.version, "from": switch.from, "sha256": switch.sha256 });
                Ok(Some((switch.single, Ok(evidence))))
            }
            Phase::Failed(why) => {
                let why = format!("{why}; version {} runs again", self.version);
                Ok(Some((switch.single.clone(), Err(outcome(NOT_APPLIED, why)))))
            }
            Phase::Staged | Phase::Tried => Ok(None),
        }
    }

    /// The agent's hello was answered: if its version was tried, it is proven now.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn greeted(&self) -> io::Result<Option<Settled>> {
        match self.places.switch()?.and_then(|switch| switch.proven()) {
            Some(proven) => {
                self.places.remember(&proven)?;
                tracing::info!(from = proven.from, to = proven.to, "this version has proven itself");
                self.settled()
            }
            None => Ok(None),
        }
    }

    /// The ledger knows how the change has ended. One that failed is remembered, so that no loss of the ledger makes the
    /// agent try it again.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn told(&self) -> io::Result<()> {
        let Some(switch) = self.places.switch()? else { return Ok(()) };
        if switch.phase == Phase::Proven {
            self.places.forget()?;
            self.places.keep_programs(&[&switch.to]);
        }
        Ok(())
    }

    /// Brings the agent to the version that the body of its lane names. When it gets that far, it never returns: the
    /// agent is to end ([`Self::staged`]), and what follows is known at its next start.
    pub fn put(
        &self,
        single: Single,
        body: String,
        source: impl Source + 'static,
    ) -> impl Future<Output = Result<Value, Outcome>> + Send + 'static {
        let this = self.clone();
        async move {
            let failed = |error: io::Error| outcome(NOT_APPLIED, format!("the upgrade cannot be recorded: {error}"));
            let upgrade = stage::read(&body)?;
            if stage::judge(&upgrade, &this.version)? == Verdict::Same {
                return Ok(json!({ "version": this.version }));
            }
            let before = this.places.switch().map_err(failed)?;
            if let Some(why) = before.and_then(|switch| switch.failed_for(&single).map(str::to_owned)) {
                return Err(outcome(NOT_APPLIED, why));
            }
            let keys = this.places.keys().map_err(|why| outcome(NOT_APPLIED, why))?;
            let package = upgrade.package;
            stage::stage(&this.places, keys, &package, &source).await?;
            let (from, to) = (this.version.clone(), package.version);
            tracing::info!(from, to, "another version is staged; this one ends");
            let staged = Switch { from, to, sha256: package.sha256, single, phase: Phase::Staged };
            this.places.remember(&staged).map_err(failed)?;
            this.staged.cancel();
            std::future::pending().await
        }
    }
}
