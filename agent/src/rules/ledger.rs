//! Where the changes of an agent's state are made durable.

use super::state::Change;

/// Whether a change must be on disk before anything that rests on it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It must: it survives any crash from now on.
    Now,
    /// It need not: when it is lost, the same is learned again. A later `Now` makes it durable too.
    Later,
}

/// A ledger that could not be written. The change has not been made; the agent must not go on.
#[derive(Debug, thiserror::Error)]
#[error("the ledger cannot be written: {0}")]
pub struct LedgerFault(pub String);

/// Stores the changes of one agent's state.
pub trait Ledger {
    /// Stores all the changes, or none.
    ///
    /// # Errors
    /// When they could not be stored.
    fn write(&mut self, changes: &[Change], durability: Durability) -> Result<(), LedgerFault>;
}

/// A ledger that dies with the process: that of virtual agents and of tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory;

impl Ledger for Memory {
    fn write(&mut self, _changes: &[Change], _durability: Durability) -> Result<(), LedgerFault> {
        Ok(())
    }
}
