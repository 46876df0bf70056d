//! What the command `run-active-response` asks for.

use muster_core::problem::Problem;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::alert::Alert;

/// The arguments of the command: those of the task that asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// The response's name.
    pub name: String,
    /// The alert that it is run for; an empty one when a person asks.
    pub alert: Alert,
}

impl Execution {
    /// Reads the arguments.
    ///
    /// # Errors
    /// The problem with its JSON pointer into them: `schema` for what has not this form, and those of [`Alert::new`].
    pub fn read(args: &Value) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Args {
            name: String,
            #[serde(default)]
            alert: Map<String, Value>,
        }
        let args = Args::deserialize(args).map_err(|error| Problem::new("schema", "", error.to_string()))?;
        let alert = Alert::new(Value::Object(args.alert)).map_err(|problem| problem.under("/alert"))?;
        Ok(Self { name: args.name, alert })
    }
}
