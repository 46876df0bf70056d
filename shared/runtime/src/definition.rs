//! A function with its types forgotten: one row of the list of functions.

use muster_core::function::{Bound, Function, bind};
use muster_core::problem::{Problem, Refusal};
use muster_core::schema::Schema;
use muster_core::task::{Task, TaskType};
use serde_json::Value;

/// A function as the runtime sees it.
pub struct Definition {
    /// Its type.
    pub kind: TaskType,
    schema: Schema,
    bind: Bind,
}

type Bind = fn(&Task<Value>) -> Result<Box<dyn Bound>, Refusal>;

impl Definition {
    /// The definition of a function.
    ///
    /// # Errors
    /// When its schema is none.
    pub fn of<F: Function>() -> anyhow::Result<Self> {
        let schema = Schema::compile(F::SCHEMA).map_err(|e| anyhow::anyhow!("the schema of {}: {e}", F::TYPE))?;
        Ok(Self { kind: F::TYPE, schema, bind: bind::<F> })
    }

    /// What can be said against a task without looking at any state.
    pub fn problems(&self, document: &Value) -> Vec<Problem> {
        self.schema.problems(document)
    }

    /// Binds a task to the function.
    ///
    /// # Errors
    /// When its arguments do not have the function's form.
    pub fn bind(&self, task: &Task<Value>) -> Result<Box<dyn Bound>, Refusal> {
        (self.bind)(task)
    }
}
