//! Active responses: what is run for an alert, and undone when its time has come.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use muster_active_response::{Execution, Left, OpenError, Order, Response, Responses, Undone};
use muster_core::instant::Instant;
use muster_core::message::Outcome;
use muster_core::problem::in_words;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::rules::outcome::{INVALID, outcome};

/// The clock is looked at again after this, for it may be set.
const LOOK: Duration = Duration::from_secs(30);
/// What is due and could not be undone is not tried again sooner.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads the text of a response that has this name.
///
/// # Errors
/// What is wrong with it.
pub fn read(name: &str, text: &str) -> Result<Response, String> {
    let response = Response::parse(text).map_err(|problems| in_words(&problems))?;
    match response.name() {
        own if own == name => Ok(response),
        own => Err(format!("/name: the active response '{name}' calls itself '{own}'")),
    }
}

/// The hands of the active responses: what runs, and what is undone. Dropping it undoes nothing.
pub struct ActiveResponses {
    responses: Arc<Responses>,
    ran: Arc<Notify>,
    undoing: AbortHandle,
}

impl ActiveResponses {
    /// Opens them, before any command is taken in, and undoes what is due from now on.
    ///
    /// # Errors
    /// See [`Responses::open`].
    pub async fn open(root: &Path, agent: &str) -> Result<Self, OpenError> {
        let (home, agent) = (root.to_owned(), agent.to_owned());
        let opening = tokio::task::spawn_blocking(move || Responses::open(&home, &agent, now())).await;
        let opened = opening.map_err(|error| OpenError::Io(root.to_owned(), error.to_string()))?;
        let (responses, ran) = (Arc::new(opened?), Arc::new(Notify::new()));
        let undoing = tokio::spawn(undo(responses.clone(), ran.clone())).abort_handle();
        Ok(Self { responses, ran, undoing })
    }

    /// Carries out an order of a task; "started" is on the ledger's disk. `response` is what the agent's groups have
    /// under the order's name.
    pub fn run(
        &self,
        order: String,
        args: &Value,
        timeout: Duration,
        repeated_offenders: Vec<u32>,
        response: impl FnOnce(&str) -> Result<Response, String>,
    ) -> impl Future<Output = Outcome> + Send + 'static {
        let asked = Execution::read(args).map_err(|problem| problem.under("/args").to_string());
        let asked = asked.and_then(|asked| Ok((response(&asked.name)?, asked.alert)));
        let (responses, ran) = (self.responses.clone(), self.ran.clone());
        async move {
            let (response, alert) = match asked {
                Ok(asked) => asked,
                Err(why) => return outcome(INVALID, why),
            };
            let order = Order { id: &order, timeout, repeated_offenders: &repeated_offenders };
            let report = responses.execute(&order, &response, &alert, now()).await;
            ran.notify_one();
            report.outcome()
        }
    }
}

impl Drop for ActiveResponses {
    fn drop(&mut self) {
        self.undoing.abort();
    }
}

/// Undoes what is due, for ever.
async fn undo(responses: Arc<Responses>, ran: Arc<Notify>) {
    loop {
        responses.due(now()).await.iter().for_each(log);
        let pause = responses.next_due().map_or(LOOK, |due| due.since(now()).clamp(PAUSE, LOOK));
        tokio::select! { () = ran.notified() => {}, () = tokio::time::sleep(pause) => {} }
    }
}

fn log(undone: &Undone) {
    let Undone { order, response, fault, left, .. } = undone;
    match (fault, left) {
        (None, _) => tracing::info!(order, response, "undone"),
        (Some(why), Left::GivenUp) => tracing::error!(order, response, %why, "not undone, and not tried any more"),
        (Some(why), _) => tracing::warn!(order, response, %why, "not undone; it is tried again"),
    }
}

fn now() -> Instant {
    Instant::from_system(SystemTime::now())
}
