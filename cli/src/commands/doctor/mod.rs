//! `muster doctor`: whether all is well, and if not, what to do.

mod checks;
mod look;
mod tasks;

use serde_json::json;

use self::checks::{Check, Severity, checks};
use crate::ask::control;
use crate::exit::{Exit, failed};
use crate::output::{Output, print, print_json};

/// Ends with 0 when all is well, 1 when something was found, 2 when it could not look.
pub(crate) async fn doctor(output: Output) -> anyhow::Result<Exit> {
    let looked = async { look::look(&control().await?).await };
    let found = match looked.await {
        Ok(seen) => checks(&seen),
        Err(error) => {
            failed(&error, output);
            return Ok(Exit::NotDone);
        }
    };
    let healthy = found.iter().all(|check| check.severity < Severity::Warning);
    match output {
        Output::Table => print(&page(&found))?,
        Output::Json => print_json(&json!({ "healthy": healthy, "checks": found }))?,
    }
    Ok(if healthy { Exit::Done } else { Exit::Failed })
}

/// A line for each check, and below it what to do.
fn page(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.code.len()).max().unwrap_or(0);
    let line = |check: &Check| {
        let name = check.severity.name();
        let todo = check.todo.as_ref().map(|todo| format!("{:9}{:width$}  -> {todo}\n", "", "")).unwrap_or_default();
        format!("{name:<7}  {:width$}  {}\n{todo}", check.code, check.found)
    };
    crate::output::document(&checks.iter().map(line).collect::<String>())
}
