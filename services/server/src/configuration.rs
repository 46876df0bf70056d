//! The servers' configuration in force: whoever runs by it watches it, and is told once for each revision.

use muster_agent::rules::outcome::{NOT_APPLIED, outcome};
use muster_core::message::Outcome;
use muster_core::problem::in_words;
use muster_core::settings::{self, Settings};
use tokio::sync::watch;

/// What is in force.
pub struct Configuration(watch::Sender<Settings>);

impl Configuration {
    /// The default is in force. The process's log follows the level from now on, once somebody has set one.
    pub fn start() -> Self {
        let sender = watch::Sender::new(Settings::default());
        let mut changes = sender.subscribe();
        tokio::spawn(async move {
            let mut level = changes.borrow().log_level.clone();
            while changes.changed().await.is_ok() {
                let now = changes.borrow_and_update().log_level.clone();
                if now != level {
                    muster_runtime::log_level(&now);
                    tracing::info!(from = level, to = now, "the log has another level");
                    level = now;
                }
            }
        });
        Self(sender)
    }

    /// What is in force now.
    pub fn now(&self) -> Settings {
        self.0.borrow().clone()
    }

    /// Tells of each revision from now on.
    pub fn watch(&self) -> watch::Receiver<Settings> {
        self.0.subscribe()
    }

    /// Puts a text in force; a bad one leaves the one before.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn put(&self, text: &str) -> Result<(), Outcome> {
        let settings = settings::parse(text).map_err(|problems| outcome(NOT_APPLIED, in_words(&problems)))?;
        self.0.send_replace(settings);
        Ok(())
    }
}
